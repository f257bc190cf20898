import NetTypes
import Syscalls

/// Why a registry could not do what was asked.
public enum RegistryError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A file operation failed; names the path.
  case system(SystemError)
  /// There is no `config`.
  case configurationMissing(path: String)
  /// `config` is there but not usable.
  case configuration(path: String, ConfigurationError)
  /// The attributes name no address in the first enabled family, which identifies the node.
  case publicIPMissing(AddressFamily)
  /// Every subnet between the pool's first and last overlaps a lease. The text is exact (contract flanneld §7.2).
  case outOfSubnets(SubnetPool)
  /// Another program put a file in the way each time.
  case retriesExhausted
  /// Somebody holds the lock for longer than we wait.
  case locked(path: String, seconds: Int)
  /// The lease is no longer this node's.
  case leaseLost(LeaseKey, reason: String)

  /// One line for the operator; says what to do where that is known.
  public var description: String {
    switch self {
    case .system(let error): "\(error)"
    case .configurationMissing(let path):
      "flannel config not found: there is no \(path); write the network config there, "
        + "such as {\"Network\": \"10.244.0.0/16\", \"Backend\": {\"Type\": \"vxlan\"}}"
    case .configuration(let path, let error): "\(path): \(error)"
    case .publicIPMissing(let family):
      "cannot acquire a lease: the node has no public \(family == .ipv4 ? "IPv4" : "IPv6") address"
    case .outOfSubnets: "out of subnets"
    case .retriesExhausted: "max retries reached trying to acquire a subnet"
    case .locked(let path, let seconds):
      "\(path) has been locked by another process for more than \(seconds) s; see which with: fuser -v \(path)"
    case .leaseLost(let key, let reason): "lease lost: \(key): \(reason)"
    }
  }
}
