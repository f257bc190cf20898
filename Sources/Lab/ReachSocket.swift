import Glibc
import NetTypes
import Netlink
import Syscalls

/// A TCP or UDP socket in a namespace. It never blocks.
final class ReachSocket {
  private let file: FileDescriptor
  let family: AddressFamily
  let transport: HostPort.Transport

  /// For `poll`.
  var descriptor: Int32 { file.number }

  /// Opened on a throw-away thread inside the namespace.
  init(in namespace: String, _ family: AddressFamily, _ transport: HostPort.Transport) throws {
    let place = try NetworkNamespace(path: LabNames.path(namespace))
    let kind = (transport == .tcp ? SOCK_STREAM : SOCK_DGRAM).rawValue
    let number = try place.run { () throws(SystemError) in
      try retrying("open \(transport) socket in", namespace) {
        socket(
          Int32(family.number), Int32(kind) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
      }
    }
    file = FileDescriptor(adopting: number)
    self.family = family
    self.transport = transport
  }

  private init(accepted number: Int32, _ family: AddressFamily) {
    file = FileDescriptor(adopting: number)
    self.family = family
    transport = .tcp
  }

  // MARK: Server

  /// Takes a port of every address of this family, and connections if it is TCP.
  /// - Parameter port: 0 = any free one.
  /// - Returns: the port.
  /// - Throws: `EADDRINUSE` when a program has the port.
  func serve(port: UInt16) throws(SystemError) -> UInt16 {
    let fd = descriptor
    let object = "\(transport) port \(port)"
    var on: Int32 = 1
    let size = socklen_t(MemoryLayout<Int32>.size)
    // IPv4 has a socket of its own; and connections of an earlier run may not be forgotten yet.
    if family == .ipv6 {
      try retrying("restrict", object) { unsafe setsockopt(fd, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &on, size) }
    }
    if transport == .tcp {
      try retrying("reuse", object) { unsafe setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, size) }
    }
    try retrying("bind", object) {
      unsafe SocketAddress.with(family.any.base, port: port) { a, length in unsafe bind(fd, a, length) }
    }
    if transport == .tcp { try retrying("listen on", object) { listen(fd, 1024) } }
    var own = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    try retrying("look up", object) {
      unsafe withUnsafeMutablePointer(to: &own) {
        unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe getsockname(fd, $0, &length) }
      }
    }
    return SocketAddress.read(own, family)?.port ?? port
  }

  /// The next connection and who it is from; nil when there is none.
  func accept() -> (connection: ReachSocket, from: SocketAddress)? {
    let fd = descriptor
    var address = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let number = unsafe withUnsafeMutablePointer(to: &address) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe Glibc.accept(fd, $0, &length) }
    }
    guard number >= 0 else { return nil }
    let connection = ReachSocket(accepted: number, family)
    guard let from = SocketAddress.read(address, family) else { return nil }
    return (connection, from)
  }

  /// The next datagram and who it is from; nil when there is none.
  func receive(_ buffer: inout [UInt8]) -> (bytes: ArraySlice<UInt8>, from: SocketAddress)? {
    let fd = descriptor
    var address = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let n = unsafe withUnsafeMutablePointer(to: &address) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { a in
        unsafe buffer.withUnsafeMutableBytes { unsafe recvfrom(fd, $0.baseAddress, $0.count, 0, a, &length) }
      }
    }
    guard n >= 0, n <= buffer.count, let from = SocketAddress.read(address, family) else { return nil }
    return (buffer[..<n], from)
  }

  /// Answers a datagram. What cannot be sent is lost, as on any network.
  func send(_ bytes: [UInt8], to destination: SocketAddress) {
    let fd = descriptor
    _ = unsafe SocketAddress.with(destination.address, port: destination.port) { a, length in
      unsafe bytes.withUnsafeBytes { unsafe sendto(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL), a, length) }
    }
  }

  // MARK: Client

  /// Begins to connect; nil, or why that is impossible.
  func connect(to destination: SocketAddress) -> Errno? {
    let fd = descriptor
    let rc = unsafe SocketAddress.with(destination.address, port: destination.port) { a, length in
      unsafe Glibc.connect(fd, a, length)
    }
    return rc == 0 || Glibc.errno == EINPROGRESS ? nil : .current
  }

  /// Sends to the other end; nil, or why not. A few bytes on a fresh connection always fit.
  @discardableResult
  func send(_ bytes: [UInt8]) -> Errno? {
    let fd = descriptor
    let n = unsafe bytes.withUnsafeBytes { unsafe Glibc.send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    return n < 0 ? .current : nil
  }

  /// Why the connection could not be made; nil = it was.
  var connectionError: Errno? {
    var code: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    let fd = descriptor
    guard unsafe getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length) == 0 else { return .current }
    return code == 0 ? nil : Errno(rawValue: code)
  }
}
