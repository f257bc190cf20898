import JSON

/// A port of a node that leads to a port of a pod on it.
public struct HostPort: Hashable, Sendable, CustomStringConvertible {
  /// What the lab can try out.
  public enum Transport: String, Hashable, Sendable, CaseIterable { case tcp, udp }

  /// The port on every address of the node.
  public var host: UInt16
  /// The port in the pod.
  public var container: UInt16
  /// Protocol of both.
  public var transport: Transport

  /// Every field as given.
  public init(host: UInt16, container: UInt16, transport: Transport) {
    self.host = host
    self.container = container
    self.transport = transport
  }

  /// Reads `HOST:CONTAINER[/PROTO]`; without a protocol it is TCP.
  public init(_ text: String) throws(LabError) {
    let halves = text.split(separator: "/", omittingEmptySubsequences: false)
    let numbers = halves.first?.split(separator: ":", omittingEmptySubsequences: false) ?? []
    guard halves.count <= 2, numbers.count == 2, let first = numbers.first, let last = numbers.last else {
      throw LabError("--port \(text) is not HOST:CONTAINER[/PROTO]", advice: "write it like 8080:80 or 5353:53/udp")
    }
    host = try Self.port(first, "host", text)
    container = try Self.port(last, "container", text)
    guard halves.count == 2, let name = halves.last else {
      transport = .tcp
      return
    }
    guard let known = Transport(rawValue: name.lowercased()) else {
      throw LabError("--port \(text): unknown protocol \"\(name)\"", advice: "use tcp or udp")
    }
    transport = known
  }

  private static func port(_ text: Substring, _ side: String, _ whole: String) throws(LabError) -> UInt16 {
    guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(text), port > 0 else {
      throw LabError("--port \(whole): the \(side) port \"\(text)\" is not a number from 1 to 65535")
    }
    return port
  }

  /// Refuses ports that cannot be meant at the same time, or that the node needs itself.
  /// - Parameter others: the host ports of the other pods on the node.
  static func check(
    _ ports: [HostPort], _ plan: LabPlan, node: String, others: [(pod: PodName, port: HostPort)]
  ) throws(LabError) {
    var seen = Set<String>()
    for port in ports {
      guard seen.insert(port.hostSide).inserted else {
        throw LabError("host port \(port.hostSide) is given twice", advice: "a host port leads to one port of one pod")
      }
      if let owner = others.first(where: { $0.port.hostSide == port.hostSide }) {
        throw LabError(
          "host port \(port.hostSide) of \(node) leads to pod \(owner.pod) already",
          advice: "choose another one, or remove that pod")
      }
      if port.transport == .tcp, port.host == NodeAgent.healthPort {
        throw LabError("host port \(port.hostSide) belongs to the agent's health server", advice: "choose another one")
      }
      if port.transport == .udp, Int(port.host) == plan.tunnelPort {
        throw LabError("host port \(port.hostSide) carries the overlay's packets", advice: "choose another one")
      }
    }
  }

  /// `8080/tcp`
  var hostSide: String { "\(host)/\(transport)" }

  /// `8080:80/tcp`
  public var description: String { "\(host):\(container)/\(transport)" }

  /// An entry of `portMappings` (contract cni §B5), of `ports` in `status --json` and of a pod's record.
  public var json: JSONValue {
    .object(
      JSONObject([
        ("hostPort", .integer(host)), ("containerPort", .integer(container)),
        ("protocol", .string(transport.rawValue)),
      ]))
  }

  /// Reads an entry; nil when it is none.
  public init?(json: JSONValue) {
    guard let o = json.objectValue, let host = o["hostPort"]?.intValue.flatMap(UInt16.init(exactly:)), host > 0,
      let container = o["containerPort"]?.intValue.flatMap(UInt16.init(exactly:)), container > 0,
      let transport = o["protocol"]?.stringValue.flatMap(Transport.init(rawValue:))
    else { return nil }
    self.init(host: host, container: container, transport: transport)
  }
}
