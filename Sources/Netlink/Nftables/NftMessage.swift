import CLinux

/// `NFT_MSG_*` (`linux/netfilter/nf_tables.h`): the low byte of a message type of nf_tables.
enum NftMessage {
  static let newTable: UInt16 = 0
  static let getTable: UInt16 = 1
  static let deleteTable: UInt16 = 2
  static let newChain: UInt16 = 3
  static let getChain: UInt16 = 4
  static let deleteChain: UInt16 = 5
  static let newRule: UInt16 = 6
  static let getRule: UInt16 = 7
  static let deleteRule: UInt16 = 8
  static let newSet: UInt16 = 9
  static let getSet: UInt16 = 10
  static let deleteSet: UInt16 = 11
  static let newElement: UInt16 = 12
  static let getElement: UInt16 = 13
  static let deleteElement: UInt16 = 14
  static let newGeneration: UInt16 = 15
  static let getGeneration: UInt16 = 16

  /// The whole message type.
  @inline(__always)
  static func type(_ message: UInt16) -> UInt16 { Netfilter.nftables << 8 | message }
}

/// The family of a table (`NFPROTO_*`).
public enum NftFamily: UInt8, Hashable, Sendable, CaseIterable {
  case inet = 1
  case ipv4 = 2
  case arp = 3
  case netdev = 5
  case bridge = 7
  case ipv6 = 10

  /// As `nft` writes it: `ip`, `ip6`, `inet`, …
  public var name: String {
    switch self {
    case .inet: "inet"
    case .ipv4: "ip"
    case .arp: "arp"
    case .netdev: "netdev"
    case .bridge: "bridge"
    case .ipv6: "ip6"
    }
  }
}

extension Attribute {
  /// Integers of nf_tables are in network order.
  @inline(__always) var bigUInt16: UInt16? { uint16.map(UInt16.init(bigEndian:)) }
  @inline(__always) var bigUInt32: UInt32? { uint32.map(UInt32.init(bigEndian:)) }
  @inline(__always) var bigUInt64: UInt64? { payload.load(as: UInt64.self).map(UInt64.init(bigEndian:)) }
  /// The payload as it is.
  var bytes: [UInt8] { payload.array }
}

extension RawSpan {
  /// A copy.
  var array: [UInt8] { unsafe withUnsafeBytes { unsafe Array($0) } }
}

extension MessageWriter {
  /// Adds an integer in network order.
  @inline(__always)
  mutating func big<T: FixedWidthInteger & BitwiseCopyable>(_ type: UInt16, _ value: T) {
    attribute(type, value.bigEndian)
  }

  /// Adds attributes as one, marked as nested.
  @inline(__always)
  mutating func nest(_ type: UInt16, _ body: (inout MessageWriter) -> Void) { nested(type | 0x8000, body) }
}
