import JSON
import NetTypes
import Syscalls

/// What is kept of a pod: written before the plugins run, so that whatever they leave can be removed.
public struct PodRecord: Hashable, Sendable {
  /// The pod.
  public var pod: PodName
  /// The id the plugins know it by.
  public var containerID: String
  /// The addresses that ADD gave it; none until then.
  public var addresses: [IPPrefix]
  /// Ports of the node that lead to the pod; DEL is told them, too.
  public var ports: [HostPort]

  /// A pod before ADD, unless addresses are given.
  public init(pod: PodName, containerID: String, addresses: [IPPrefix] = [], ports: [HostPort] = []) {
    self.pod = pod
    self.containerID = containerID
    self.addresses = addresses
    self.ports = ports
  }

  /// A new id: 64 hexadecimal digits, as container runtimes make them.
  public static func newContainerID() -> String {
    (0..<4).map { _ in
      let digits = String(UInt64.random(in: .min ... .max), radix: 16)
      return String(repeating: "0", count: 16 - digits.count) + digits
    }.joined()
  }

  /// Reads a record; nil when the document is not one.
  public init?(pod: PodName, json: JSONValue) {
    guard let o = json.objectValue, let id = o["containerID"]?.stringValue, !id.isEmpty else { return nil }
    let texts = o["addresses"]?.arrayValue ?? []
    self.init(
      pod: pod, containerID: id, addresses: texts.compactMap { $0.stringValue.flatMap { IPPrefix($0) } },
      ports: (o["ports"]?.arrayValue ?? []).compactMap { HostPort(json: $0) })
  }

  /// The document.
  public var json: JSONValue {
    .object(
      JSONObject([
        ("containerID", .string(containerID)), ("addresses", .array(addresses.map { .string($0.description) })),
        ("ports", .array(ports.map(\.json))),
      ]))
  }
}

extension NodeDirectory {
  func podFile(_ pod: PodName) -> String { "\(pods)/\(pod.name).json" }

  func write(_ record: PodRecord) throws {
    let text = Array(record.json.text(.pretty).utf8) + [0x0a]
    try Files.writeAtomically(text, to: podFile(record.pod), mode: 0o644, durable: false)
  }

  /// The record of a pod; nil when it is missing or damaged.
  func record(_ pod: PodName) -> PodRecord? {
    guard let bytes = try? Files.read(podFile(pod), limit: 1 << 20), let json = try? JSONValue(parsing: bytes) else {
      return nil
    }
    return PodRecord(pod: pod, json: json)
  }

  /// The pods that have a record, in order.
  func podNames() -> [PodName] {
    ((try? Files.list(pods)) ?? []).compactMap { file in
      guard file.hasSuffix(".json"), !file.hasPrefix(".") else { return nil }
      return try? PodName(node: name, name: String(file.dropLast(5)))
    }.sorted()
  }
}
