import Glibc
import NetTypes

/// Socket addresses of both families.
struct SocketAddress: Hashable {
  var address: IPAddress
  /// 0 = none, or any free one.
  var port: UInt16 = 0

  static func with<R>(
    _ address: IPAddress, port: UInt16 = 0, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R
  ) -> R {
    var storage = sockaddr_storage()
    let bytes = address.bytes
    let offset = addressOffset(address.family)
    storage.ss_family = sa_family_t(address.family.number)
    unsafe withUnsafeMutableBytes(of: &storage) {
      unsafe $0[2] = UInt8(port >> 8)
      unsafe $0[3] = UInt8(truncatingIfNeeded: port)
      for (i, b) in bytes.enumerated() { unsafe $0[offset + i] = b }
    }
    let size = address.family == .ipv4 ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size
    return unsafe withUnsafePointer(to: &storage) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, socklen_t(size)) }
    }
  }

  static func read(_ storage: sockaddr_storage, _ family: AddressFamily) -> SocketAddress? {
    var copy = storage
    let offset = addressOffset(family)
    let bytes = unsafe withUnsafeBytes(of: &copy) { unsafe Array($0[..<(offset + family.byteCount)]) }
    return IPAddress(bytes: bytes[offset...]).map {
      SocketAddress(address: $0, port: UInt16(bytes[2]) << 8 | UInt16(bytes[3]))
    }
  }

  private static func addressOffset(_ family: AddressFamily) -> Int { family == .ipv4 ? 4 : 8 }
}
