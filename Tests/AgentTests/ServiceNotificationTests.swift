import Glibc
import Syscalls
import TestSupport
import Testing

@testable import Agent

@Suite struct ServiceNotificationTests {
  /// A datagram socket bound to a path, or to an abstract name that starts with `@`.
  private func receiver(_ name: String) throws -> FileDescriptor {
    let fd = try retrying("socket") { socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0) }
    let out = FileDescriptor(adopting: fd)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    var bytes = Array(name.utf8)
    if name.hasPrefix("@") { bytes[0] = 0 } else { bytes.append(0) }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let length = socklen_t(2 + bytes.count)
    try retrying("bind", name) {
      withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(fd, $0, length) }
      }
    }
    return out
  }

  @Test func reachesPathsAndAbstractNames() throws {
    let directory = try TemporaryDirectory("notify")
    for name in [directory.file("socket"), "@weft-notify-\(getpid())-\(UInt32.random(in: 0 ... .max))"] {
      let socket = try receiver(name)
      try ServiceNotification.send("READY=1", to: name)
      var buffer = [UInt8](repeating: 0, count: 64)
      let count = try socket.read(into: &buffer)
      #expect(String(decoding: buffer[..<count], as: UTF8.self) == "READY=1")
    }
  }

  @Test func errorsNameTheSocket() {
    let error = #expect(throws: SystemError.self) { try ServiceNotification.send("x", to: "/nonexistent/socket") }
    #expect(error?.description == "notify NOTIFY_SOCKET=/nonexistent/socket: no such file or directory")
    #expect(throws: SystemError.self) { try ServiceNotification.send("x", to: String(repeating: "x", count: 200)) }
    #expect(throws: SystemError.self) { try ServiceNotification.send("x", to: "@") }
  }
}
