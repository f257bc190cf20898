/// `IPS_*` (`linux/netfilter/nf_conntrack_common.h`).
public struct ConntrackStatus: OptionSet, Hashable, Sendable {
  /// The bits.
  public let rawValue: UInt32
  /// Any bits, also those without a name here.
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Belongs to another connection, which a helper expected.
  public static let expected = ConntrackStatus(rawValue: 1 << 0)
  /// Packets were seen in both directions.
  public static let seenReply = ConntrackStatus(rawValue: 1 << 1)
  /// Is not dropped early when the table is full.
  public static let assured = ConntrackStatus(rawValue: 1 << 2)
  /// The first packet has left the host.
  public static let confirmed = ConntrackStatus(rawValue: 1 << 3)
  /// The source address of the original direction is changed.
  public static let sourceNAT = ConntrackStatus(rawValue: 1 << 4)
  /// The destination address of the original direction is changed.
  public static let destinationNAT = ConntrackStatus(rawValue: 1 << 5)
  /// Taken out of the table.
  public static let dying = ConntrackStatus(rawValue: 1 << 9)
  /// The timeout is not renewed by packets.
  public static let fixedTimeout = ConntrackStatus(rawValue: 1 << 10)
  /// Forwarded by a flow table; cannot be deleted.
  public static let offloaded = ConntrackStatus(rawValue: 1 << 14)
  /// Forwarded by hardware; cannot be deleted.
  public static let hardwareOffloaded = ConntrackStatus(rawValue: 1 << 15)
}

/// How far a connection is, for the protocols that the kernel follows.
public struct ConntrackState: Hashable, Sendable {
  /// The protocols that have states.
  public enum Transport: Hashable, Sendable, CaseIterable {
    case tcp
    case dccp
    case sctp
  }

  /// The protocol, which says what `number` means.
  public var transport: Transport
  /// `TCP_CONNTRACK_*`, `CT_DCCP_*` or `SCTP_CONNTRACK_*`.
  public var number: UInt8

  /// Any number.
  public init(_ transport: Transport, _ number: UInt8) {
    self.transport = transport
    self.number = number
  }

  /// The state of a name such as `ESTABLISHED`; nil when the protocol has none of that name.
  public init?(_ transport: Transport, named name: String) {
    guard let number = transport.names.firstIndex(of: name) else { return nil }
    self.init(transport, UInt8(clamping: number))
  }

  /// `TCP_CONNTRACK_ESTABLISHED`
  public static let established = ConntrackState(.tcp, 3)

  /// As `conntrack` prints it; the number in decimal where it has no name.
  public var name: String {
    let names = transport.names
    return names.indices.contains(Int(number)) ? names[Int(number)] : "\(number)"
  }
}

extension ConntrackState.Transport {
  /// By number.
  fileprivate var names: [String] {
    switch self {
    case .tcp:
      [
        "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE",
        "SYN_SENT2",
      ]
    case .dccp:
      [
        "NONE", "REQUEST", "RESPOND", "PARTOPEN", "OPEN", "CLOSEREQ", "CLOSING", "TIMEWAIT", "IGNORE", "INVALID",
      ]
    case .sctp:
      [
        "NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT", "SHUTDOWN_RECD",
        "SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT", "HEARTBEAT_ACKED",
      ]
    }
  }
}
