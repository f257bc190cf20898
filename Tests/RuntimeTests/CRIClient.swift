import Syscalls

/// The calls that kubelet makes to a container runtime (CRI, `runtime.v1`).
struct CRIClient: Sendable {
  /// The runtime's socket file.
  let socket: String
  /// Where the pods' control groups go.
  let controlGroup: String
  /// The runtime's log.
  let logPath: String

  /// One condition of the runtime: `RuntimeReady`, `NetworkReady`.
  struct Condition {
    let isTrue: Bool
    let message: String
  }

  /// A port of the node that leads to one of the pod.
  struct HostPort {
    let host: Int
    let container: Int
  }

  /// A pod as the runtime describes it.
  struct Pod: Hashable, Sendable {
    let id: String
    /// The first of these is the one that kubelet reports as the pod's.
    let addresses: [String]
    var address: String { addresses.first ?? "" }
  }

  /// The runtime's conditions by name.
  func conditions() throws -> [String: Condition] {
    let answer = try call("Status", ProtocolBuffer())
    let pairs = answer.messages(1).flatMap { $0.messages(1) }.map {
      ($0.text(1), Condition(isTrue: $0.number(2) != 0, message: $0.text(4)))
    }
    return Dictionary(pairs) { a, _ in a }
  }

  /// Starts a pod, which is one container of the pause image with a network of its own.
  func run(_ name: String, ports: [HostPort] = []) throws -> Pod {
    var request = ProtocolBuffer()
    request.add(1, configuration(name, ports))
    return try pod(try call("RunPodSandbox", request).text(1))
  }

  /// What the runtime says about a pod it has.
  func pod(_ id: String) throws -> Pod {
    let network = try call("PodSandboxStatus", reference(id)).messages(1).first?.messages(5).first
    let addresses = [network?.text(1) ?? ""] + (network?.messages(2) ?? []).map { $0.text(1) }
    return Pod(id: id, addresses: addresses.filter { !$0.isEmpty })
  }

  /// Stops a pod and frees its network; not an error when it has been stopped.
  func stop(_ pod: Pod) throws { _ = try call("StopPodSandbox", reference(pod.id)) }
  /// Forgets a pod; a running one is stopped.
  func remove(_ pod: Pod) throws { _ = try call("RemovePodSandbox", reference(pod.id)) }

  private func configuration(_ name: String, _ ports: [HostPort]) -> ProtocolBuffer {
    var metadata = ProtocolBuffer()
    metadata.add(1, name)
    metadata.add(2, "\(name)-uid")
    metadata.add(3, "default")
    var linux = ProtocolBuffer()
    linux.add(1, controlGroup)
    var out = ProtocolBuffer()
    out.add(1, metadata)
    out.add(2, name)
    for port in ports {
      var mapping = ProtocolBuffer()
      mapping.add(2, port.container)
      mapping.add(3, port.host)
      out.add(5, mapping)
    }
    out.add(8, linux)
    return out
  }

  private func reference(_ id: String) -> ProtocolBuffer {
    var out = ProtocolBuffer()
    out.add(1, id)
    return out
  }

  private func call(_ method: String, _ request: ProtocolBuffer) throws -> ProtocolBuffer {
    let call = UnaryCall(socket: socket, path: "/runtime.v1.RuntimeService/\(method)")
    do {
      guard let answer = ProtocolBuffer(decoding: try call(request.bytes)) else {
        throw UnaryCall.Failure(description: "\(method): the answer is no message")
      }
      return answer
    } catch let failure as UnaryCall.Failure {
      // The runtime writes the reason before it answers.
      let reason = (try? Files.text(logPath))?.split(separator: "\n").last { $0.contains("level=error") }
      throw UnaryCall.Failure(description: "\(failure.description): \(reason ?? "no reason in \(logPath)")")
    }
  }
}
