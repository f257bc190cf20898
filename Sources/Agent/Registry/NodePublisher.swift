import JSON
import KubeClient
import KubeTypes
import Logging
import Subnets
import Synchronization
import Syscalls

/// Keeps what this node says of itself in Kubernetes as it must be: the annotations that others reach it by, and the
/// condition that its network is there. Only what differs is patched; a failure is tried again until it works
/// (contract flanneld §6.3, §6.6, §19.18).
final class NodePublisher {
  private let client: KubeClient
  private let nodeName: String
  private let names: AnnotationNames
  private let log: Logger
  private let waker: AgentLoop.Waker

  /// What to announce.
  var attributes: LeaseAttributes?
  /// Whether to say that the network is there.
  var saysNetworkIsUp = false
  /// The annotations are as they must be.
  private(set) var isPublished = false
  /// Why the last patch failed.
  private(set) var problem: KubeError?
  /// When to come again, monotonic ns; nil when nothing is to be done.
  private(set) var retryAt: Int64?

  private let answer = Inbox<Result<KubeNode, KubeError>>()
  private var isWaiting = false
  private var notBefore: Int64 = 0
  private var backoff = Backoff(first: 1_000_000_000, limit: 60_000_000_000)
  private var random: SplitMix64
  /// The node object, by its uid, that has the condition.
  private var conditionOf: String?

  init(client: KubeClient, nodeName: String, names: AnnotationNames, log: Logger, waker: AgentLoop.Waker) {
    self.client = client
    self.nodeName = nodeName
    self.names = names
    self.log = log
    self.waker = waker
    var generator = SystemRandomNumberGenerator()
    random = SplitMix64(seed: generator.next())
  }

  /// Does what is to be done, without waiting.
  /// - Parameter known: the node as it is known.
  /// - Returns: the node as the API server has it, after a patch.
  func advance(_ known: KubeNode?, now: Int64) -> KubeNode? {
    var node = known
    var patched: KubeNode?
    switch answer.take() {
    case .success(let object)?:
      isWaiting = false
      problem = nil
      patched = object
      node = object
      // Should the server not do what it was asked: not again and again.
      notBefore = now + backoff.next(&random)
    case .failure(let error)?:
      isWaiting = false
      if error != problem { log.error("\(error); trying again") }
      problem = error
      notBefore = now + backoff.next(&random)
    case nil: break
    }
    retryAt = nil
    if !isWaiting, let node { say(node, now) }
    return patched
  }

  private func say(_ node: KubeNode, _ now: Int64) {
    let changes = attributes.map { node.annotationChanges($0, names: names) } ?? []
    isPublished = changes.isEmpty
    if !changes.isEmpty {
      guard isTime(now) else { return }
      log.info(
        "Setting annotations of node \(nodeName): \(changes.map { "\($0.name)=\($0.value)" }.joined(separator: ", "))")
      return patch(KubeNode.annotationPatch(changes))
    }
    if saysNetworkIsUp, conditionOf != node.uid {
      // The message may be of an agent of another version.
      if let condition = node.networkUnavailable, condition.status == KubeNode.networkIsUp.status,
        condition.reason == KubeNode.networkIsUp.reason
      {
        conditionOf = node.uid
      } else {
        // It follows a patch of the annotations at once.
        if problem == nil { notBefore = 0 }
        guard isTime(now) else { return }
        return patch(KubeNode.networkIsUpPatch(now: Clock.realtime() / 1_000_000_000))
      }
    }
    backoff.reset()
    notBefore = 0
  }

  private func isTime(_ now: Int64) -> Bool {
    if now >= notBefore { return true }
    retryAt = notBefore
    return false
  }

  private func patch(_ body: JSONValue) {
    isWaiting = true
    let (answer, waker) = (answer, waker)
    client.patch(KubeNode.self, name: nodeName, subresource: "status", .strategicMerge, body, timeout: 10_000_000_000) {
      answer.put($0)
      waker.wake()
    }
  }
}

/// Asks which node a pod is on, again and again until there is an answer.
struct PodRequest {
  let client: KubeClient
  let name: String
  let namespace: String
  let waker: AgentLoop.Waker

  private let answer = Inbox<Result<KubePod, KubeError>>()
  private var isWaiting = false
  private var notBefore: Int64 = 0

  init(client: KubeClient, name: String, namespace: String, waker: AgentLoop.Waker) {
    self.client = client
    self.name = name
    self.namespace = namespace
    self.waker = waker
  }

  /// The next answer, if there is one.
  mutating func advance(now: Int64) -> Result<KubePod, KubeError>? {
    if let result = answer.take() {
      isWaiting = false
      notBefore = now + 1_000_000_000
      return result
    }
    if !isWaiting, now >= notBefore {
      isWaiting = true
      let (answer, waker) = (answer, waker)
      client.get(KubePod.self, name: name, namespace: namespace, timeout: 10_000_000_000) {
        answer.put($0)
        waker.wake()
      }
    }
    return nil
  }
}

/// Carries one thing from the client's thread to the agent's.
private final class Inbox<Value: Sendable>: Sendable {
  private let stored = Mutex<Value?>(nil)

  func put(_ value: Value) { stored.withLock { $0 = value } }

  func take() -> Value? {
    stored.withLock { stored in
      defer { stored = nil }
      return stored
    }
  }
}
