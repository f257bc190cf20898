import NetTypes
import Subnets
import Syscalls

/// Where this node's subnet comes from, and where the leases of all other nodes are found. Owned by the agent's one
/// thread; its methods that may wait do so in the agent's loop, and say with nil or false that a signal came first.
protocol LeaseRegistry: AnyObject {
  /// The cluster's network configuration.
  func configuration() throws(RegistryError) -> NetworkConfiguration

  /// Waits until this node is known, and has what its lease is made from.
  /// - Returns: what the registry has instead of `--public-ip` and `--public-ipv6` (contract flanneld §3, step 8).
  func prepare(_ configuration: NetworkConfiguration, _ loop: inout AgentLoop) throws(AgentFailure) -> PerFamily<
    String
  >?

  /// The MACs this node published before, so that they stay the same when its devices are made again.
  func publishedMACs(_ node: AgentNode) -> PerFamily<MACAddress>

  /// Takes this node's lease and publishes its attributes.
  func acquire(
    _ attributes: LeaseAttributes, _ node: AgentNode, _ loop: inout AgentLoop
  ) throws(AgentFailure) -> Lease?

  /// All leases that are known; this node's own may be among them.
  var snapshot: LeaseSnapshot { get }

  /// Has the loop wake up for changes, from now on.
  func attach(to loop: inout AgentLoop)

  /// Something happened.
  /// - Returns: true when the snapshot may be another one.
  func handle(_ event: AgentLoop.Event, _ loop: inout AgentLoop) -> Bool

  /// Sees to the own lease. Called after the events of each turn of the loop.
  /// - Returns: false when the lease was taken away.
  func tend(_ loop: inout AgentLoop) throws(AgentFailure) -> Bool

  /// The data path agrees with the snapshot.
  func applied(_ loop: inout AgentLoop)

  /// The network of this node works, for the first time.
  func networkIsUp(_ loop: inout AgentLoop)
}
