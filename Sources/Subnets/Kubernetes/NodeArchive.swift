import JSON
public import KubeTypes
import NetTypes
public import Syscalls

/// The nodes that were known last, in a file: an agent that starts while the API server is away goes on with them.
///
/// It is a `NodeList` as the API server would send it, with what we keep of each node; the own node is the first one.
public enum NodeArchive {
  /// Writes the file, readable by root alone; the one before stays until the new one is complete. It is meant for a
  /// directory that does not survive a reboot, as the routes do not: nothing is synced.
  /// - Parameter prefix: of the annotations that are kept.
  public static func write(
    own: KubeNode, others: [KubeNode], prefix: String, to path: String
  ) throws(SystemError) {
    var text = Array(
      "{\"kind\":\"NodeList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"0\"},\"items\":[".utf8)
    text += json(own, prefix).bytes()
    for node in others where node.name != own.name {
      text += [UInt8(ascii: ","), UInt8(ascii: "\n")]
      text += json(node, prefix).bytes()
    }
    text += Array("]}\n".utf8)
    try Files.makeDirectory(Files.split(path).directory)
    try Files.writeAtomically(text, to: path, mode: 0o600, durable: false)
  }

  private static func json(_ node: KubeNode, _ prefix: String) -> JSONValue {
    let annotations = JSONObject(
      node.annotations.filter { $0.name.hasPrefix(prefix) }.map { ($0.name, .string($0.value)) })
    return [
      "metadata": ["name": .string(node.name), "uid": .string(node.uid), "annotations": .object(annotations)],
      "spec": ["podCIDR": .string(node.podCIDR), "podCIDRs": .array(node.podCIDRs.map { .string($0) })],
    ]
  }

  /// Reads the file.
  /// - Returns: nil when there is none.
  /// - Throws: what is wrong with it, in words.
  public static func read(_ path: String) throws(NodeArchiveError) -> (own: KubeNode, others: [KubeNode])? {
    let bytes: [UInt8]
    do { bytes = try Files.read(path, limit: 64 << 20) } catch {
      if error.errno == .noEntry { return nil }
      throw NodeArchiveError(description: "\(error)")
    }
    var decoder = ResponseDecoder<KubeNode, Collector>(annotations: .all, receiver: Collector())
    decoder.start(.json, .list)
    do {
      try decoder.read(bytes.span)
      try decoder.finish()
    } catch {
      throw NodeArchiveError(description: "\(path): \(error)")
    }
    let nodes = decoder.receiver.nodes
    guard let own = nodes.first, !own.name.isEmpty else {
      throw NodeArchiveError(description: "\(path) holds no node")
    }
    return (own, Array(nodes.dropFirst()))
  }

  private struct Collector: ObjectReceiver, Sendable {
    var nodes: [KubeNode] = []
    mutating func object(_ draft: ObjectDraft) { nodes.append(KubeNode(draft.record)) }
    mutating func event(_ kind: WatchEventKind, _ draft: ObjectDraft) {}
    mutating func status(_ status: KubeStatus) {}
    mutating func page(continue token: String, version: String) {}
  }
}

/// Why the nodes of an earlier run cannot be used.
public struct NodeArchiveError: Error, Hashable, Sendable, CustomStringConvertible {
  /// One line for the operator.
  public let description: String
}
