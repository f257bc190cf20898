import Glibc
import Netlink
import NetTypes
import Syscalls

/// A server in a network namespace that answers every connection, or datagram, with its name and the client's address:
/// `name 192.0.2.2`. It ends with the value.
public final class Endpoint: Sendable {
  private let number: Int32

  /// - Parameters:
  ///   - stream: TCP; UDP otherwise.
  ///   - name: what it answers.
  public init(_ name: String, _ family: AddressFamily = .ipv4, stream: Bool, port: UInt16, in ns: TestNamespace) throws
  {
    let fd = try Client.open(family, stream: stream, in: ns)
    number = fd
    var one: Int32 = 1
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, 4)
    guard Client.withAddress(IPAddress(family, 0), port, { bind(fd, $0, $1) }) == 0 else { throw SystemError("bind") }
    if stream { guard listen(fd, 64) == 0 else { throw SystemError("listen") } }
    try DetachedThread.start { stream ? Self.serveStream(fd, name) : Self.serveDatagrams(fd, name) }
  }

  deinit {
    shutdown(number, Int32(SHUT_RDWR))
    close(number)
  }

  private static func serveStream(_ fd: Int32, _ name: String) {
    var peer = sockaddr_storage()
    while true {
      let c = withPeer(&peer) { accept(fd, $0, $1) }
      guard c >= 0 else { return }
      let answer = Array("\(name) \(Client.address(peer))".utf8)
      _ = send(c, answer, answer.count, Int32(MSG_NOSIGNAL))
      close(c)
    }
  }

  private static func serveDatagrams(_ fd: Int32, _ name: String) {
    var peer = sockaddr_storage()
    var buffer = [UInt8](repeating: 0, count: 64)
    while true {
      let n = withPeer(&peer) { recvfrom(fd, &buffer, buffer.count, 0, $0, $1) }
      guard n > 0 else { return }
      let answer = Array("\(name) \(Client.address(peer))".utf8)
      let length = socklen_t(MemoryLayout<sockaddr_storage>.size)
      _ = withUnsafePointer(to: &peer) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          sendto(
            fd, answer, answer.count, 0, $0,
            $0.pointee.sa_family == AF_INET ? socklen_t(MemoryLayout<sockaddr_in>.size) : min(length, 28))
        }
      }
    }
  }

  private static func withPeer<R>(
    _ peer: inout sockaddr_storage, _ body: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> R
  ) -> R {
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    return withUnsafeMutablePointer(to: &peer) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, &length) }
    }
  }
}

/// A socket of UDP in a namespace that keeps its port, or single connections of TCP.
public final class Client: Sendable {
  private let number: Int32

  /// A socket for datagrams.
  public init(_ family: AddressFamily = .ipv4, in ns: TestNamespace) throws {
    number = try Self.open(family, stream: false, in: ns)
    Self.limit(number)
  }

  deinit { close(number) }

  /// Sends a datagram and returns the answer; nil when none comes within a second.
  public func ask(_ address: String, _ port: UInt16) -> String? {
    guard let to = IPAddress(address) else { return nil }
    let fd = number
    guard Self.withAddress(to, port, { sendto(fd, [1], 1, 0, $0, $1) }) == 1 else { return nil }
    return Self.answer(fd)
  }

  /// Connects once and returns what the server says; nil when there is no answer within a second.
  public static func connect(_ address: String, _ port: UInt16, from ns: TestNamespace) throws -> String? {
    guard let to = IPAddress(address) else { return nil }
    let fd = try open(to.family, stream: true, in: ns)
    defer { close(fd) }
    limit(fd)
    guard withAddress(to, port, { Glibc.connect(fd, $0, $1) }) == 0 else { return nil }
    return answer(fd)
  }

  private static func answer(_ fd: Int32) -> String? {
    var buffer = [UInt8](repeating: 0, count: 128)
    let n = recv(fd, &buffer, buffer.count, 0)
    return n > 0 ? String(decoding: buffer[..<n], as: UTF8.self) : nil
  }

  private static func limit(_ fd: Int32) {
    var time = timeval(tv_sec: 1, tv_usec: 0)
    let size = socklen_t(MemoryLayout<timeval>.size)
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, size)
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, size)
  }

  static func open(_ family: AddressFamily, stream: Bool, in ns: TestNamespace) throws -> Int32 {
    let kind = Int32((stream ? SOCK_STREAM : SOCK_DGRAM).rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    return try ns.open().run { () throws(SystemError) in
      let fd = socket(family == .ipv4 ? AF_INET : AF_INET6, kind, 0)
      guard fd >= 0 else { throw SystemError("open socket") }
      return fd
    }
  }

  static func withAddress<R>(_ a: IPAddress, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
    var bytes = [UInt8](repeating: 0, count: 28)
    withUnsafeBytes(of: sa_family_t(a.family.number)) { bytes.replaceSubrange(0..<2, with: $0) }
    bytes[2] = UInt8(port >> 8)
    bytes[3] = UInt8(truncatingIfNeeded: port)
    let start = a.family == .ipv4 ? 4 : 8
    bytes.replaceSubrange(start..<start + a.bytes.count, with: a.bytes)
    return bytes.withUnsafeBytes { raw in
      return body(raw.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: sockaddr.self), a.family == .ipv4 ? 16 : 28)
    }
  }

  static func address(_ s: sockaddr_storage) -> String {
    withUnsafeBytes(of: s) { bytes in
      let range = s.ss_family == AF_INET ? 4..<8 : 8..<24
      return IPAddress(bytes: Array(bytes[range])).map { "\($0)" } ?? "?"
    }
  }
}
