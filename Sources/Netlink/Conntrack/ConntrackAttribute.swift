/// `IPCTNL_MSG_CT_*` (`linux/netfilter/nfnetlink_conntrack.h`) as whole message types.
enum ConntrackMessage {
  static let new = type(0)
  static let get = type(1)
  static let delete = type(2)
  static let getCPUStatistics = type(4)
  static let getStatistics = type(5)

  private static func type(_ message: UInt16) -> UInt16 { Netfilter.conntrack << 8 | message }
}

/// `CTA_*`. All integers are in network order.
enum ConntrackAttribute {
  static let original: UInt16 = 1
  static let reply: UInt16 = 2
  static let status: UInt16 = 3
  static let protocolInfo: UInt16 = 4
  static let timeout: UInt16 = 7
  static let mark: UInt16 = 8
  static let originalCounters: UInt16 = 9
  static let replyCounters: UInt16 = 10
  static let use: UInt16 = 11
  static let id: UInt16 = 12
  static let zone: UInt16 = 18
  static let timestamp: UInt16 = 20
  static let markMask: UInt16 = 21
  static let filter: UInt16 = 25
  static let statusMask: UInt16 = 26

  /// `CTA_TUPLE_*`, inside `original` and `reply`.
  enum Tuple {
    static let addresses: UInt16 = 1
    static let transport: UInt16 = 2
    static let zone: UInt16 = 3
  }

  /// `CTA_IP_*`, inside `Tuple.addresses`.
  enum Address {
    static let ipv4Source: UInt16 = 1
    static let ipv4Destination: UInt16 = 2
    static let ipv6Source: UInt16 = 3
    static let ipv6Destination: UInt16 = 4
  }

  /// `CTA_PROTO_*`, inside `Tuple.transport`.
  enum Transport {
    static let number: UInt16 = 1
    static let sourcePort: UInt16 = 2
    static let destinationPort: UInt16 = 3
    static let icmpID: UInt16 = 4
    static let icmpType: UInt16 = 5
    static let icmpCode: UInt16 = 6
    static let icmpv6ID: UInt16 = 7
    static let icmpv6Type: UInt16 = 8
    static let icmpv6Code: UInt16 = 9
  }

  /// `CTA_PROTOINFO_*`, inside `protocolInfo`; in each of them the state is attribute 1.
  enum ProtocolInfo {
    static let tcp: UInt16 = 1
    static let dccp: UInt16 = 2
    static let sctp: UInt16 = 3
  }

  /// `CTA_FILTER_*`, inside `filter`: masks of `ConntrackFilter.KernelFlag`, in the machine's order.
  enum Filter {
    static let original: UInt16 = 1
    static let reply: UInt16 = 2
  }
}
