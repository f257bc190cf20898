import JSON
import NetTypes

/// A pod's connection to the internet.
public struct OutwardReach: Hashable, Sendable {
  /// Who connected.
  public var pod: PodName
  /// The pod's own address, by ADD's answer; nil when it is not known.
  public var address: IPAddress?
  /// The internet's address.
  public var destination: IPAddress
  /// The source a masqueraded packet has: the node's underlay address.
  public var expected: IPAddress
  /// The source that the internet saw, also when its answer did not find back; nil = nothing arrived.
  public var seen: IPAddress?
  /// The connection was made and the answer came.
  public var isAnswered = false
  /// What the kernel said about it.
  public var error: String?
  /// Why it failed, as far as it can be seen.
  public var cause: String?

  /// The answer came, and to the node's address.
  public var isComplete: Bool { isAnswered && seen == expected }

  var json: JSONValue {
    .object(
      JSONObject([
        ("pod", .string(pod.description)), ("address", .address(address)), ("internet", .address(destination)),
        ("expected", .address(expected)), ("seen", .address(seen)), ("masqueraded", .bool(seen == expected)),
        ("answered", .bool(isAnswered)), ("error", .text(error)), ("cause", .text(cause)),
      ]))
  }
}

/// A connection from the internet to a host port.
public struct HostPortReach: Hashable, Sendable {
  /// The pod that the port leads to.
  public var pod: PodName
  /// The port.
  public var port: HostPort
  /// The node's underlay address.
  public var address: IPAddress
  /// Who answered: `pod` when all is well; nil with an answer means that a program of the pod's own has the port.
  public var server: String?
  /// The source that the pod saw.
  public var seen: IPAddress?
  /// The answer came, or the connection was made if a program of the pod's own has the port.
  public var isAnswered = false
  /// Nothing could be tried, and why: this is no failure.
  public var untried: String?
  /// What the kernel said about it.
  public var error: String?
  /// Why it failed, as far as it can be seen.
  public var cause: String?

  /// The pod answered, or a program in it took the connection, or nothing could be tried.
  public var isComplete: Bool {
    untried != nil || (isAnswered && (server == nil || server == pod.description))
  }

  /// `172.31.77.11:8080/tcp`, `[fd77::11]:8080/tcp`
  var endpoint: String {
    (address.family == .ipv4 ? "\(address):" : "[\(address)]:") + port.hostSide
  }

  var json: JSONValue {
    .object(
      JSONObject([
        ("pod", .string(pod.description)), ("address", .address(address)), ("hostPort", .integer(port.host)),
        ("containerPort", .integer(port.container)), ("protocol", .string(port.transport.rawValue)),
        ("answered", .bool(isAnswered)), ("server", .text(server)), ("seen", .address(seen)),
        ("untried", .text(untried)), ("error", .text(error)),
        ("cause", .text(cause)),
      ]))
  }
}

extension JSONValue {
  fileprivate static func address(_ address: IPAddress?) -> JSONValue { text(address?.description) }
  fileprivate static func text(_ text: String?) -> JSONValue { text.map { .string($0) } ?? .null }
}

/// The result of `reach`.
///
/// As JSON: `complete`, `outward` and `hostPorts`. The members of an outward connection are `pod`, `address`, `internet`,
/// `expected`, `seen` (or null), `masqueraded`, `answered`, `error` (or null), `cause` (or null); those of a host port
/// `pod`, `address` (the node's), `hostPort`, `containerPort`, `protocol`, `answered`, `server` (the pod that answered, or
/// null), `seen` (the source the pod saw, or null), `untried` (why, or null), `error` (or null), `cause` (or null).
public struct ReachReport: Hashable, Sendable {
  /// Per pod and family.
  public var outward: [OutwardReach]
  /// Per host port and family.
  public var hostPorts: [HostPortReach]

  /// As measured.
  public init(outward: [OutwardReach], hostPorts: [HostPortReach]) {
    self.outward = outward
    self.hostPorts = hostPorts
  }

  /// Everything that was tried worked.
  public var isComplete: Bool { outward.allSatisfy(\.isComplete) && hostPorts.allSatisfy(\.isComplete) }

  /// The document of `reach --json`.
  public var json: JSONValue {
    .object(
      JSONObject([
        ("complete", .bool(isComplete)), ("outward", .array(outward.map(\.json))),
        ("hostPorts", .array(hostPorts.map(\.json))),
      ]))
  }

  /// Which source the internet saw, a row per pod and family.
  public var outwardTable: Table {
    Table(
      ["POD", "ADDRESS", "TO INTERNET", "SEEN AS", "RESULT"],
      rows: outward.map {
        let result = $0.isComplete ? "masqueraded" : $0.isUnmasqueraded ? "not masqueraded" : "no answer"
        return [
          $0.pod.description, $0.address?.description ?? "-", $0.destination.description,
          $0.seen?.description ?? "nothing", result,
        ]
      })
  }

  /// Who answers at the host ports, a row per port and family; nil when there is none.
  public var hostPortTable: Table? {
    guard !hostPorts.isEmpty else { return nil }
    return Table(
      ["HOST PORT", "LEADS TO", "ANSWERED BY", "SAW CLIENT"],
      rows: hostPorts.map {
        let server = $0.untried != nil ? "untried" : !$0.isAnswered ? "nobody" : $0.server ?? "a program"
        return [
          $0.endpoint, "\($0.pod) port \($0.port.container)", server, $0.seen?.description ?? "-",
        ]
      })
  }

  /// What went wrong, a line per distinct cause, with what it struck.
  public var failures: [String] {
    var order: [String] = []
    var struck: [String: [String]] = [:]
    func note(_ cause: String, _ what: String) {
      if struck[cause] == nil { order.append(cause) }
      struck[cause, default: []].append(what)
    }
    for o in outward where !o.isComplete {
      note(o.cause ?? o.error ?? "no answer", "\(o.pod) to \(o.destination)")
    }
    for p in hostPorts where !p.isComplete { note(p.cause ?? p.error ?? "no answer", p.endpoint) }
    return order.map { "\($0) (\(list(struck[$0] ?? [])))" }
  }
}

extension OutwardReach {
  /// The internet saw another source than the node.
  var isUnmasqueraded: Bool { seen.map { $0 != expected } ?? false }
}
