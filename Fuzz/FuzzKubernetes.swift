import KubeTypes
import NetTypes
import Subnets

/// What an API server sends, in pieces whose size the first byte gives: an object, a list, a watch and a status, in both
/// encodings. Whatever can be read becomes leases.
func fuzzKubernetes(_ input: [UInt8]) {
  guard let size = input.first else { return }
  let body = Array(input.dropFirst())
  for format in [WireFormat.json, .protobuf] {
    for shape in [ResponseShape.object, .list, .watch, .status] {
      var decoder = ResponseDecoder<KubeNode, Nodes>(annotations: .all, receiver: Nodes())
      decoder.start(format, shape)
      do {
        var rest = body[...]
        while !rest.isEmpty {
          let piece = Array(rest.prefix(Int(size) + 1))
          try decoder.read(piece.span)
          rest = rest.dropFirst(piece.count)
        }
        try decoder.finish()
      } catch {}
      use(decoder.receiver.nodes)
    }
  }
}

/// A kubeconfig, and a prefix of annotations.
func fuzzKubeconfig(_ input: [UInt8]) {
  if let file = try? Kubeconfig(parsing: input, file: "kubeconfig") { _ = try? file.access(server: nil) }
  if let names = try? AnnotationNames(prefix: String(decoding: input, as: UTF8.self)) {
    precondition((try? AnnotationNames(prefix: names.prefix)) == names)
  }
}

private struct Nodes: ObjectReceiver, Sendable {
  var nodes: [KubeNode] = []
  mutating func object(_ draft: ObjectDraft) { nodes.append(KubeNode(draft.record)) }
  mutating func event(_ kind: WatchEventKind, _ draft: ObjectDraft) { nodes.append(KubeNode(draft.record)) }
  mutating func status(_ status: KubeStatus) {}
  mutating func page(continue token: String, version: String) {}
}

private func use(_ nodes: [KubeNode]) {
  guard let names = try? AnnotationNames(prefix: "f.a/") else { return }
  var leases = NodeLeases(reader: NodeLeaseReader(names: names, families: [.ipv4, .ipv6]), own: "own")
  _ = leases.put(nodes)
  _ = leases.warnings
  precondition(leases.snapshot.leases.count <= nodes.count)
  _ = leases.remove(nodes.map(\.name))
  precondition(leases.snapshot.leases.isEmpty)
}
