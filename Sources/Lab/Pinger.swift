import Glibc
import NetTypes
import Netlink
import Syscalls

/// How `ping` works.
public struct PingOptions: Hashable, Sendable {
  /// Packets per pair.
  public var count: Int
  /// Milliseconds from one packet of a pair to the next.
  public var interval: Int
  /// Milliseconds to wait for the last answers.
  public var timeout: Int

  /// - Throws: when a number is out of bounds.
  public init(count: Int = 3, interval: Int = 100, timeout: Int = 1000) throws(LabError) {
    guard (1...60000).contains(count) else { throw LabError("--count \(count) is not 1 to 60000") }
    guard (1...60000).contains(interval) else {
      throw LabError("--interval \(interval) is not 1 to 60000 milliseconds")
    }
    guard (1...60000).contains(timeout) else { throw LabError("--timeout \(timeout) is not 1 to 60000 milliseconds") }
    self.count = count
    self.interval = interval
    self.timeout = timeout
  }
}

/// A raw ICMP socket in a pod's namespace.
struct EchoSocket: ~Copyable {
  let descriptor: FileDescriptor
  let family: AddressFamily

  /// Opened on a throw-away thread inside the namespace.
  init(in namespace: String, _ family: AddressFamily) throws {
    let place = try NetworkNamespace(path: LabNames.path(namespace))
    let number = try place.run { () throws(SystemError) in
      try retrying("open ICMP socket in", namespace) {
        socket(
          family == .ipv4 ? AF_INET : AF_INET6,
          Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue),
          Int32(family == .ipv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
      }
    }
    descriptor = FileDescriptor(adopting: number)
    self.family = family
  }

  /// Sends one packet; nil, or why not.
  func send(_ packet: [UInt8], to address: IPAddress) -> Errno? {
    let fd = descriptor.number
    let n = unsafe SocketAddress.with(address) { a, length in
      unsafe packet.withUnsafeBytes { unsafe sendto(fd, $0.baseAddress, $0.count, 0, a, length) }
    }
    return n < 0 ? Errno.current : nil
  }

  /// Reads one packet and its sender; nil when there is none.
  func receive(_ buffer: inout [UInt8]) -> (packet: ArraySlice<UInt8>, from: IPAddress)? {
    let fd = descriptor.number
    var address = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let n = unsafe withUnsafeMutablePointer(to: &address) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { a in
        unsafe buffer.withUnsafeMutableBytes { unsafe recvfrom(fd, $0.baseAddress, $0.count, 0, a, &length) }
      }
    }
    guard n > 0, n <= buffer.count, let from = SocketAddress.read(address, family) else { return nil }
    return (buffer[..<n], from.address)
  }
}
