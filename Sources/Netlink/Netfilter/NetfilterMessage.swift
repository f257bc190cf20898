/// What all messages of `NETLINK_NETFILTER` have in common (`linux/netfilter/nfnetlink.h`).
enum Netfilter {
  /// `NFNL_SUBSYS_*`: the high byte of a message type.
  static let conntrack: UInt16 = 1
  static let nftables: UInt16 = 10

  /// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END`
  static let batchBegin: UInt16 = 16
  static let batchEnd: UInt16 = 17

  /// Bytes of the fixed header.
  static let headerSize = 4

  /// `struct nfgenmsg`: family, version 0, and a resource in network order, as one word of four bytes.
  @inline(__always)
  static func header(family: UInt8, resource: UInt16 = 0) -> UInt32 {
    (UInt32(family) << 24 | UInt32(resource)).bigEndian
  }
}
