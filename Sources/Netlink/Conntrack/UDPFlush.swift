import CLinux
public import NetTypes
import Syscalls

/// Forgets connections of UDP, so that the next packet of a client is looked at by the rules again.
public enum UDPFlush {
  /// Removes the entries whose first packet went to one of the ports, in the calling thread's network namespace.
  /// - Returns: how many were found.
  @discardableResult
  public static func run(_ family: AddressFamily, ports: Set<UInt16>) throws(NetlinkError) -> Int {
    let number: Int32
    do throws(SystemError) {
      number = try NetlinkSocket.open(NETLINK_NETFILTER)
    } catch {
      throw NetlinkError(error)
    }
    var socket = try NetlinkSocket(adopting: number)
    let header = Netfilter.header(family: family.number)
    let found = try socket.collect("list connections", on: "", get, flags: MessageFlags.dump) {
      $0.header(header)
    } decode: {
      Entry($0, ports)
    }
    var batch = MessageWriter()
    for entry in found {
      batch.message(delete, 0, sequence: UInt32(truncatingIfNeeded: batch.count &+ 1)) {
        $0.header(header)
        $0.bytes(Self.tuple | 0x8000, entry.tuple)
        if let zone = entry.zone { $0.bytes(Self.zone, zone) }
      }
    }
    guard batch.count > 0 else { return 0 }
    var failure: NetlinkError?
    do {
      // One that ended by itself in between is as good.
      try socket.transact(batch) { _, errno, text in
        if errno != .noEntry {
          failure = NetlinkError(operation: "forget connection", object: "", errno: errno, message: text)
        }
      }
    } catch {
      throw NetlinkError(error)
    }
    if let failure { throw failure }
    return found.count
  }

  /// `IPCTNL_MSG_CT_GET`, `IPCTNL_MSG_CT_DELETE`
  private static let get = Netfilter.conntrack << 8 | 1
  private static let delete = Netfilter.conntrack << 8 | 2
  /// `CTA_TUPLE_ORIG`, `CTA_ZONE`
  private static let tuple: UInt16 = 1
  private static let zone: UInt16 = 18

  /// What names an entry to the kernel.
  private struct Entry {
    var tuple: [UInt8] = []
    var zone: [UInt8]?

    /// nil for another protocol or port.
    init?(_ message: borrowing Message, _ ports: Set<UInt16>) {
      var isMeant = false
      var attributes = message.attributes(after: Netfilter.headerSize)
      while let a = attributes.next() {
        switch a.type {
        case UDPFlush.tuple:
          tuple = a.bytes
          isMeant = Self.isMeant(a.nested(), ports)
        case UDPFlush.zone: zone = a.bytes
        default: break
        }
      }
      guard isMeant else { return nil }
    }

    /// Looks into `CTA_TUPLE_PROTO`: number 17 and the destination port.
    private static func isMeant(_ tuple: consuming AttributeReader, _ ports: Set<UInt16>) -> Bool {
      var tuple = tuple
      while let part = tuple.next() {
        guard part.type == 2 else { continue }
        var isUDP = false
        var port: UInt16?
        var fields = part.nested()
        while let f = fields.next() {
          if f.type == 1 { isUDP = f.uint8 == 17 }
          if f.type == 3 { port = f.uint16.map(UInt16.init(bigEndian:)) }
        }
        return isUDP && port.map(ports.contains) ?? false
      }
      return false
    }
  }
}
