import Glibc
import NetTypes
import Syscalls
import Testing

@testable import Agent

/// A plain client, so that the oracle is the bytes on the wire.
private struct Client: ~Copyable {
  let socket: FileDescriptor

  init(port: Int) throws {
    let fd = try retrying("socket") { Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0) }
    try Self.connect(fd, port)
    socket = FileDescriptor(adopting: fd)
  }

  private static func connect(_ fd: Int32, _ port: Int) throws {
    var timeout = timeval(tv_sec: 20, tv_usec: 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
    var address = loopback(port)
    _ = try withUnsafePointer(to: &address) {
      try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { p in
        try retrying("connect") { Glibc.connect(fd, p, socklen_t(MemoryLayout<sockaddr_in>.size)) }
      }
    }
  }

  func send(_ text: String) throws { try socket.write(text.utf8) }

  /// Everything until the server closes; a reset counts as closed.
  func rest() -> String {
    var out: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while let n = try? socket.read(into: &buffer), n > 0 { out += buffer[..<n] }
    return String(decoding: out, as: UTF8.self)
  }

  /// Reads until the text ends with `suffix`.
  func read(until suffix: String) throws -> String {
    var out: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1)
    while !String(decoding: out, as: UTF8.self).hasSuffix(suffix) {
      guard try socket.read(into: &buffer) == 1 else { break }
      out += buffer
    }
    return String(decoding: out, as: UTF8.self)
  }
}

private func loopback(_ port: Int) -> sockaddr_in {
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = in_port_t(port).bigEndian
  address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
  return address
}

private struct TakenPort: ~Copyable {
  let socket: FileDescriptor
  let port: Int
}

/// A port that was free a moment ago, or stays taken as long as the socket lives.
private func takePort() throws -> TakenPort {
  let socket = FileDescriptor(
    adopting: try retrying("socket") { Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0) })
  var address = loopback(0)
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  let fd = socket.number
  try withUnsafeMutablePointer(to: &address) {
    try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { p in
      try retrying("bind") { bind(fd, p, length) }
      try retrying("listen") { listen(fd, 1) }
      try retrying("getsockname") { getsockname(fd, p, &length) }
    }
  }
  return TakenPort(socket: socket, port: Int(UInt16(bigEndian: address.sin_port)))
}

private func start(_ readiness: Readiness, _ limits: HealthServer.Limits = .init()) throws -> HealthServer {
  var last: any Error = HealthServer.Failure(description: "no port")
  for _ in 0..<20 {
    let port = try takePort().port  // given back at once; another test may be faster
    do { return try HealthServer(address: "127.0.0.1", port: port, readiness: readiness, limits: limits) } catch {
      last = error
    }
  }
  throw last
}

private func fetch(_ port: Int, _ target: String, method: String = "GET") throws -> (status: String, body: String) {
  let client = try Client(port: port)
  try client.send("\(method) \(target) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
  let answer = client.rest()
  let parts = answer.replacing("\r\n", with: "\n").split(separator: "\n\n", maxSplits: 1)
  let status = parts.first?.split(separator: "\n").first ?? ""
  return (String(status), parts.count > 1 ? String(parts[1]) : "")
}

@Suite struct HealthServerTests {
  @Test func answersAsTheContractSays() throws {
    let readiness = Readiness()
    let server = try start(readiness)
    defer { server.stop() }
    #expect(try fetch(server.port, "/healthz") == ("HTTP/1.1 200 OK", "flanneld is running"))
    #expect(try fetch(server.port, "/readyz") == ("HTTP/1.1 503 Service Unavailable", "flanneld is not ready yet"))
    readiness.state = .notReady(reason: "waiting for the network config")
    #expect(try fetch(server.port, "/readyz").body == "flanneld is not ready yet: waiting for the network config")
    readiness.state = .ready
    #expect(try fetch(server.port, "/readyz?verbose") == ("HTTP/1.1 200 OK", "flanneld is ready"))
    #expect(try fetch(server.port, "/readyz", method: "HEAD") == ("HTTP/1.1 200 OK", ""))
    #expect(try fetch(server.port, "/healthz/").status == "HTTP/1.1 404 Not Found")
    #expect(try fetch(server.port, "/").status == "HTTP/1.1 404 Not Found")
    #expect(try fetch(server.port, "/healthz", method: "POST").status == "HTTP/1.1 405 Method Not Allowed")
  }

  @Test func keepsConnectionsOpen() throws {
    let server = try start(Readiness())
    defer { server.stop() }
    let client = try Client(port: server.port)
    for _ in 0..<3 {
      try client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
      #expect(try client.read(until: "flanneld is running").hasPrefix("HTTP/1.1 200 OK\r\n"))
    }
  }

  @Test func slowClientsAreCutOff() throws {
    var limits = HealthServer.Limits()
    limits.patience = .milliseconds(100)
    let server = try start(Readiness(), limits)
    defer { server.stop() }
    let silent = try Client(port: server.port)
    let halfway = try Client(port: server.port)
    try halfway.send("GET /healthz HTTP/1.1\r\nHo")
    #expect(silent.rest() == "")
    #expect(halfway.rest() == "")
  }

  @Test func largeHeadersAndGarbageAreRefused() throws {
    let server = try start(Readiness())
    defer { server.stop() }
    let large = try Client(port: server.port)
    try? large.send("GET /healthz HTTP/1.1\r\nHost: x\r\nX: \(String(repeating: "a", count: 60_000))\r\n\r\n")
    #expect(!large.rest().contains("200 OK"))
    let garbage = try Client(port: server.port)
    try garbage.send("\u{1}\u{2}\u{3}\r\n\r\n")
    #expect(!garbage.rest().contains("200 OK"))
    #expect(try fetch(server.port, "/healthz").body == "flanneld is running", "and it lives on")
  }

  @Test func tooManyConnectionsAreClosed() throws {
    var limits = HealthServer.Limits()
    limits.connections = 2
    let server = try start(Readiness(), limits)
    defer { server.stop() }
    let first = try Client(port: server.port)
    try first.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    _ = try first.read(until: "running")
    let second = try Client(port: server.port)
    try second.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    _ = try second.read(until: "running")
    #expect(try Client(port: server.port).rest() == "")
  }

  @Test func aTakenPortIsAnErrorWithAdvice() throws {
    let taken = try takePort()
    let port = taken.port
    let error = #expect(throws: HealthServer.Failure.self) {
      _ = try HealthServer(address: "127.0.0.1", port: port, readiness: Readiness())
    }
    #expect(
      error?.description == "health server: cannot listen on 127.0.0.1:\(port): address already in use; "
        + "choose another -healthz-ip or -healthz-port")
    _ = consume taken
  }

  @Test(arguments: [("localhost", 1), ("", 1), ("127.0.0.1", 65536), ("192.0.2.1", 1)])
  func badEndPointsAreErrors(_ address: String, _ port: Int) {
    #expect(throws: HealthServer.Failure.self) {
      _ = try HealthServer(address: address, port: port, readiness: Readiness())
    }
  }

  @Test func stoppingClosesIdleConnectionsAndCutsTheRest() throws {
    let server = try start(Readiness())
    let idle = try Client(port: server.port)
    try idle.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    _ = try idle.read(until: "running")
    let halfway = try Client(port: server.port)
    try halfway.send("POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    let began = Clock.monotonic()
    server.stop(grace: 1)
    #expect(Clock.monotonic() - began < 10_000_000_000)
    #expect(idle.rest() == "")
    _ = halfway.rest()
    #expect(throws: SystemError.self) { _ = try Client(port: server.port) }
  }
}
