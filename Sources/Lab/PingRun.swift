import Glibc
import NetTypes
import Syscalls

/// One run of `ping`: all pods to all addresses at once, by one thread and one poll loop.
struct PingRun {
  /// A socket's own state: which pair an address means, and when each packet left.
  private struct Sender {
    var pod: PodName
    var family: AddressFamily
    var identifier: UInt16
    var pairs: [Int]
    var byAddress: [IPAddress: Int]
  }

  private var sockets: [EchoSocketBox] = []
  private var senders: [Sender] = []
  private var pairs: [PingPair] = []
  private var problems: [String] = []
  private let options: PingOptions
  /// When packet `sequence` of pair `i` left, at `i * count + sequence`; 0 = not outstanding.
  private var departures: [Int64] = []
  private var outstanding = 0
  private var buffer = [UInt8](repeating: 0, count: 2048)

  init(_ targets: [(pod: PodName, namespace: String, addresses: [IPAddress])], _ options: PingOptions) {
    self.options = options
    for from in targets {
      for family in AddressFamily.allCases {
        let destinations = targets.filter { $0.pod != from.pod }.flatMap { to in
          to.addresses.filter { $0.family == family }.map { PingPair(from: from.pod, to: to.pod, destination: $0) }
        }
        guard !destinations.isEmpty else { continue }
        let first = pairs.count
        pairs += destinations
        do {
          sockets.append(EchoSocketBox(try EchoSocket(in: from.namespace, family)))
        } catch {
          problems.append("pod \(from.pod) cannot send: \(error)")
          continue
        }
        var byAddress: [IPAddress: Int] = [:]
        for (i, p) in destinations.enumerated() { byAddress[p.destination] = first + i }
        senders.append(
          Sender(
            pod: from.pod, family: family, identifier: .random(in: 1 ... .max), pairs: Array(first..<pairs.count),
            byAddress: byAddress))
      }
    }
    departures = [Int64](repeating: 0, count: pairs.count * options.count)
  }

  /// Sends everything, waits, and says what became of it.
  mutating func run() throws -> PingReport {
    for sequence in 0..<options.count {
      let next = Clock.monotonic() + Int64(options.interval) * 1_000_000
      for s in senders.indices {
        for pair in senders[s].pairs { send(s, pair, sequence) }
        try Interruption.check()
      }
      if sequence < options.count - 1 { try listen(until: next, stopWhenDone: false) }
    }
    try listen(until: Clock.monotonic() + Int64(options.timeout) * 1_000_000, stopWhenDone: true)
    return PingReport(pairs: pairs, problems: problems)
  }

  private mutating func send(_ s: Int, _ pair: Int, _ sequence: Int) {
    let echo = ICMPEcho(identifier: senders[s].identifier, sequence: UInt16(truncatingIfNeeded: sequence))
    let packet = echo.request(senders[s].family)
    pairs[pair].sent += 1
    departures[pair * options.count + sequence] = Clock.monotonic()
    outstanding += 1
    if let error = sockets[s].socket.send(packet, to: pairs[pair].destination) {
      departures[pair * options.count + sequence] = 0
      outstanding -= 1
      pairs[pair].error = "\(error)"
    }
    // Between namespaces of one machine the answer is usually there already; reading it now keeps the time exact.
    drain(s)
  }

  private mutating func drain(_ s: Int) {
    while let (packet, from) = sockets[s].socket.receive(&buffer) {
      let now = Clock.monotonic()
      guard let answer = ICMPEcho.parse(packet, senders[s].family) else { continue }
      switch answer {
      case .reply(let echo):
        guard echo.identifier == senders[s].identifier, let pair = senders[s].byAddress[from] else { continue }
        settle(pair, echo.sequence) { $0.roundTrips.append(now - $1) }
      case .failure(let echo, let destination, let text):
        guard echo.identifier == senders[s].identifier, let pair = senders[s].byAddress[destination] else { continue }
        settle(pair, echo.sequence) { p, _ in p.error = "\(from) says: \(text)" }
      }
    }
  }

  private func departure(_ pair: Int, _ sequence: UInt16) -> Int64 {
    Int(sequence) < options.count ? departures[pair * options.count + Int(sequence)] : 0
  }

  private mutating func settle(_ pair: Int, _ sequence: UInt16, _ body: (inout PingPair, Int64) -> Void) {
    let departed = departure(pair, sequence)
    guard departed != 0 else { return }  // a duplicate, or one that was never sent
    departures[pair * options.count + Int(sequence)] = 0
    outstanding -= 1
    body(&pairs[pair], departed)
  }

  private mutating func listen(until deadline: Int64, stopWhenDone: Bool) throws {
    var set = sockets.map { pollfd(fd: $0.socket.descriptor.number, events: Int16(POLLIN), revents: 0) }
    while !(stopWhenDone && outstanding == 0) {
      let left = deadline - Clock.monotonic()
      guard left > 0 else { return }
      try Interruption.check()
      let n = unsafe poll(&set, nfds_t(set.count), Int32(clamping: (left + 999_999) / 1_000_000))
      if n < 0, Errno.current != .interrupted { throw SystemError("poll") }
      for s in set.indices where n > 0 && set[s].revents != 0 { drain(s) }
    }
  }
}

/// Lets sockets be kept in an array.
final class EchoSocketBox {
  let socket: EchoSocket
  init(_ socket: consuming EchoSocket) { self.socket = socket }
}
