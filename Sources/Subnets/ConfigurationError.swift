import JSON
import NetTypes

/// Why a network configuration cannot be used. The texts of contract flanneld §2.2 are exact.
public enum ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The text is not JSON.
  case json(JSONError)
  /// A key holds a value of the wrong kind or form.
  case value(key: String, value: String, expected: String)
  /// Neither address family is enabled.
  case noFamily
  /// The family is enabled but has no network.
  case networkMissing(AddressFamily)
  /// `SubnetLen` leaves less than two addresses.
  case subnetLengthTooLong(AddressFamily)
  /// The network holds less than four subnets of the wanted length.
  case tooFewSubnets
  /// The network is too small to be divided at all.
  case networkTooSmall(AddressFamily)
  /// `key` (`SubnetMin`, `IPv6SubnetMax`, …) lies outside the network.
  case outOfRange(key: String, AddressFamily)
  /// `key` is not the first address of a subnet.
  case unaligned(key: String, IPAddress)
  /// The first subnet lies above the last one.
  case emptyRange(min: IPAddress, max: IPAddress, AddressFamily)

  /// One line for the operator.
  public var description: String {
    switch self {
    case .json(let error): "the network config is not usable: \(error)"
    case .value(let key, let value, let expected): "\"\(key)\": \(value) is not valid, expected \(expected)"
    case .noFamily: "none defined stack"
    case .networkMissing(let f): "please define a correct \(f.keyPrefix)Network parameter in the flannel config"
    case .subnetLengthTooLong(let f): "SubnetLen must be less than /\(f.bitWidth - 1)"
    case .tooFewSubnets: "network must be able to accommodate at least four subnets"
    case .networkTooSmall(.ipv4): "network is too small. Minimum useful network prefix is /28"
    case .networkTooSmall(.ipv6): "IPv6Network is too small. Minimum useful network prefix is /124"
    case .outOfRange(let key, let f): "\(key) is not in the range of the \(f.keyPrefix)Network"
    case .unaligned(let key, let ip): "\(key) is not on a SubnetLen boundary: \(ip)"
    case .emptyRange(let min, let max, let f):
      "\(f.keyPrefix)SubnetMin \(min) is above \(f.keyPrefix)SubnetMax \(max): no subnet can be given out"
    }
  }
}

extension AddressFamily {
  /// What the IPv6 keys of the network configuration have in front: empty or `IPv6`.
  var keyPrefix: String { self == .ipv4 ? "" : "IPv6" }
}
