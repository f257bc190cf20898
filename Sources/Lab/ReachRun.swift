import Glibc
import NetTypes
import Syscalls

/// A question from one namespace to a server in another, and what became of it.
struct Exchange {
  /// What kind of answer is waited for.
  enum Kind {
    /// The server's name, and the source it saw.
    case answer
    /// The same, but the run does not wait for it: it is sent to learn what the server sees of a lost packet.
    case probe
    /// A connection: the server is not ours.
    case connection
  }

  /// The asking namespace.
  var client: String
  var destination: SocketAddress
  var transport: HostPort.Transport
  var kind = Kind.answer
  /// The server's name, by its answer.
  var server: String?
  /// The source that the server saw, also when its answer was lost.
  var seen: IPAddress?
  /// The answer came, or the connection was made.
  var isAnswered = false
  /// Why it failed, if the kernel said so.
  var error: String?
}

/// Asks all questions at once and answers them, by one thread and one poll loop.
struct ReachRun {
  /// Servers tell who asked: `NAME SOURCE` and a line feed.
  private var servers: [(socket: ReachSocket, name: String)] = []
  private(set) var exchanges: [Exchange] = []
  /// The asking sockets of exchanges that are not settled.
  private var clients: [Int: ReachSocket] = [:]
  private var received: [Int: [UInt8]] = [:]
  private var buffer = [UInt8](repeating: 0, count: 512)
  /// Tells this run's datagrams from others.
  private let nonce = String(UInt64.random(in: .min ... .max), radix: 36)
  /// Nanoseconds after which an unanswered datagram is sent again.
  private static let repetition: Int64 = 200_000_000

  /// Starts a server.
  /// - Parameter port: 0 = any free one.
  /// - Returns: its port.
  mutating func serve(
    in namespace: String, name: String, _ family: AddressFamily, _ transport: HostPort.Transport, port: UInt16
  ) throws -> UInt16 {
    let socket = try ReachSocket(in: namespace, family, transport)
    let taken = try socket.serve(port: port)
    servers.append((socket, name))
    return taken
  }

  /// Adds a question; its index among the exchanges.
  mutating func add(_ exchange: Exchange) -> Int {
    exchanges.append(exchange)
    return exchanges.count - 1
  }

  /// Asks, answers, and waits at most so many milliseconds for the answers.
  mutating func run(milliseconds: Int) throws {
    let deadline = Clock.monotonic() + Int64(milliseconds) * 1_000_000
    for i in exchanges.indices {
      ask(i)
      // Backlogs and buffers are not endless.
      if i % 64 == 63 { try turn(until: Clock.monotonic()) }
    }
    var repeatAt = Clock.monotonic() + Self.repetition
    while clients.keys.contains(where: { exchanges[$0].kind != .probe }) {
      let now = Clock.monotonic()
      guard now < deadline else { break }
      try Interruption.check()
      if now >= repeatAt {
        for (i, socket) in clients where socket.transport == .udp { socket.send(question(i)) }
        repeatAt = now + Self.repetition
      }
      try turn(until: min(deadline, repeatAt))
    }
    clients = [:]
    servers = []
  }

  private func question(_ i: Int) -> [UInt8] { Array("\(nonce) \(i)".utf8) }

  private mutating func ask(_ i: Int) {
    let exchange = exchanges[i]
    do {
      let socket = try ReachSocket(in: exchange.client, exchange.destination.address.family, exchange.transport)
      if let error = socket.connect(to: exchange.destination) {
        exchanges[i].error = "\(error)"
      } else if socket.transport == .udp, let error = socket.send(question(i)) {
        exchanges[i].error = "\(error)"
      } else {
        clients[i] = socket
      }
    } catch {
      exchanges[i].error = "\(error)"
    }
  }

  /// Waits for the next events and deals with them.
  private mutating func turn(until deadline: Int64) throws {
    let waiting = clients.keys.sorted()
    var set = servers.map { pollfd(fd: $0.socket.descriptor, events: Int16(POLLIN), revents: 0) }
    for i in waiting {
      let events = exchanges[i].kind == .connection ? POLLOUT : POLLIN
      set.append(pollfd(fd: clients[i]?.descriptor ?? -1, events: Int16(events), revents: 0))
    }
    let left = max(0, deadline - Clock.monotonic())
    let n = unsafe poll(&set, nfds_t(set.count), Int32(clamping: (left + 999_999) / 1_000_000))
    if n < 0, Errno.current != .interrupted { throw SystemError("poll") }
    guard n > 0 else { return }
    for (server, polled) in zip(servers, set) where polled.revents != 0 { answer(server.socket, server.name) }
    for (i, polled) in zip(waiting, set.dropFirst(servers.count)) where polled.revents != 0 { hear(i) }
  }

  private mutating func answer(_ socket: ReachSocket, _ name: String) {
    if socket.transport == .tcp {
      while let (connection, from) = socket.accept() { connection.send(Array("\(name) \(from.address)\n".utf8)) }
    }
    while socket.transport == .udp, let (bytes, from) = socket.receive(&buffer) {
      let words = String(decoding: bytes, as: UTF8.self).split(separator: " ")
      guard words.count == 2, words[0] == nonce, let i = Int(words[1]), exchanges.indices.contains(i) else { continue }
      exchanges[i].seen = from.address
      socket.send(Array("\(name) \(from.address)\n".utf8), to: from)
    }
  }

  private mutating func hear(_ i: Int) {
    guard let socket = clients[i] else { return }
    if exchanges[i].kind == .connection {
      return settle(i, socket.connectionError.map { "\($0)" })
    }
    let file = socket.descriptor
    let n = unsafe buffer.withUnsafeMutableBytes { unsafe read(file, $0.baseAddress, $0.count) }
    if n < 0 {
      let error = Errno.current
      if error != .wouldBlock, error != .interrupted { settle(i, "\(error)") }
      return
    }
    received[i, default: []] += buffer.prefix(n)
    let text = String(decoding: received[i] ?? [], as: UTF8.self)
    guard text.hasSuffix("\n") || n == 0 || text.utf8.count > 256 else { return }
    let words = text.dropLast().split(separator: " ")
    guard words.count == 2, let source = IPAddress(words[1]) else {
      return settle(i, text.isEmpty ? "closed without an answer" : "answered by another program")
    }
    exchanges[i].server = String(words[0])
    exchanges[i].seen = source
    settle(i, nil)
  }

  private mutating func settle(_ i: Int, _ error: String?) {
    clients[i] = nil
    exchanges[i].error = error
    exchanges[i].isAnswered = error == nil
  }
}
