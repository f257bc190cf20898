import Glibc
import NetTypes
import Syscalls

/// The questions of one `reach`, and what each of them is for.
struct ReachTrial {
  private let names: LabNames
  private let plan: LabPlan
  private var run = ReachRun()
  /// Ports of the internet's servers.
  private var internet: [AddressFamily: [HostPort.Transport: UInt16]] = [:]
  private var outward: [(entry: OutwardReach, connection: Int, probe: Int)] = []
  private var inward: [(entry: HostPortReach, exchange: Int?)] = []

  init(_ names: LabNames, _ plan: LabPlan) {
    self.names = names
    self.plan = plan
  }

  /// Adds all that is to be tried of a pod.
  mutating func add(_ pod: PodName, _ record: PodRecord?) throws {
    guard let k = LabNames.nodeNumber(pod.node) else { return }
    for family in plan.families {
      let node = LabPlan.underlayAddress(node: k, family).address
      let address = record?.addresses.map(\.address).first { $0.family == family }
      try addOutward(pod, address, node, family)
      for port in record?.ports ?? [] { try addInward(pod, port, node) }
    }
  }

  private mutating func addOutward(
    _ pod: PodName, _ address: IPAddress?, _ node: IPAddress, _ family: AddressFamily
  ) throws {
    let destination = Internet.address(family).address
    let client = names.namespace(pod: pod)
    func question(_ transport: HostPort.Transport, _ kind: Exchange.Kind, _ port: UInt16) -> Exchange {
      Exchange(
        client: client, destination: SocketAddress(address: destination, port: port), transport: transport, kind: kind)
    }
    let connection = run.add(question(.tcp, .answer, try internetPort(family, .tcp)))
    // A connection that is not masqueraded leaves no trace in the internet; a datagram tells its source.
    let probe = run.add(question(.udp, .probe, try internetPort(family, .udp)))
    let entry = OutwardReach(pod: pod, address: address, destination: destination, expected: node)
    outward.append((entry, connection, probe))
  }

  private mutating func internetPort(_ family: AddressFamily, _ transport: HostPort.Transport) throws -> UInt16 {
    if let port = internet[family]?[transport] { return port }
    let port = try run.serve(in: names.internet, name: Internet.name, family, transport, port: 0)
    internet[family, default: [:]][transport] = port
    return port
  }

  private mutating func addInward(_ pod: PodName, _ port: HostPort, _ node: IPAddress) throws {
    var entry = HostPortReach(pod: pod, port: port, address: node)
    var exchange = Exchange(
      client: names.internet, destination: SocketAddress(address: node, port: port.host), transport: port.transport)
    do {
      _ = try run.serve(
        in: names.namespace(pod: pod), name: pod.description, node.family, port.transport, port: port.container)
    } catch let error as SystemError where error.errno == Errno(rawValue: EADDRINUSE) {
      // The pod has a server of its own there. What it would answer is not known, that it takes connections is enough.
      guard port.transport == .tcp else {
        entry.untried = "a program in pod \(pod) has port \(port.container)/\(port.transport)"
        return inward.append((entry, nil))
      }
      exchange.kind = .connection
    } catch {
      // Its namespace is gone: the question finds that out, and the diagnosis names it.
      entry.error = "\(error)"
    }
    inward.append((entry, run.add(exchange)))
  }

  /// Asks and sums up.
  mutating func run(milliseconds: Int) throws -> ReachReport {
    try run.run(milliseconds: milliseconds)
    let outward = outward.map { o in
      var entry = o.entry
      let connection = run.exchanges[o.connection]
      entry.seen = connection.seen ?? run.exchanges[o.probe].seen
      entry.isAnswered = connection.isAnswered
      entry.error = connection.error
      return entry
    }
    let inward = inward.map { i in
      var entry = i.entry
      guard let index = i.exchange else { return entry }
      let exchange = run.exchanges[index]
      (entry.server, entry.seen, entry.isAnswered) = (exchange.server, exchange.seen, exchange.isAnswered)
      entry.error = exchange.error ?? entry.error
      return entry
    }
    return ReachReport(outward: outward, hostPorts: inward)
  }
}
