public import Logging
public import Subnets
public import Syscalls

/// What the agent's loop watches and schedules.
public enum AgentEvent: Hashable, Sendable {
  /// The network configuration is to be read again.
  case configuration
  /// The registry has changed or must be read again.
  case registry
  /// The kernel has notified a change.
  case kernel
  /// A reconciliation pass is due.
  case pass
  /// The lease is to be renewed.
  case renewal
  /// A large piece of work is over.
  case quiet
  /// A lease of another node may have ended.
  case expiry
  /// The subnet file is to be written again.
  case subnetFile
  /// What is known is to be written down for the next start.
  case archive
  /// The slow check that everything is as it should be.
  case resync
}

/// The agent's only loop, on the main thread.
public typealias AgentLoop = EventLoop<AgentEvent>

/// Why the agent cannot go on: it logs the text and exits with status 1.
public struct AgentFailure: Error, Hashable, Sendable, CustomStringConvertible {
  /// What failed and what the operator can do; logged as it is.
  public let description: String
  /// Takes the text to be logged.
  public init(_ description: String) { self.description = description }
}

/// What is known when the data path starts (contract flanneld §3, after step 9).
public struct AgentNode {
  /// As given on the command line and in the environment.
  public let options: AgentOptions
  /// As read from the registry at the start.
  public let configuration: NetworkConfiguration
  /// Carries the traffic between nodes; as it was when it was chosen.
  public let interface: ExternalInterface
  /// Where the leases of all nodes are.
  let registry: any LeaseRegistry
  /// Set by the data path, read by the health server.
  public let readiness: Readiness
  /// The agent's log, which goes to standard error.
  public let log: Logger
}
