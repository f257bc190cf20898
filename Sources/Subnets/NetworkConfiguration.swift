import JSON
import NetTypes

/// The cluster's network configuration: `net-conf.json`, or `config` of a registry (contract flanneld §2).
public struct NetworkConfiguration: Hashable, Sendable {
  /// Enabled families, IPv4 first. Without keys: IPv4 only.
  public let enabledFamilies: [AddressFamily]
  /// The cluster's pod network per family, host bits cleared; present or not regardless of `enabledFamilies`.
  public let networks: PerFamily<IPPrefix>
  /// nftables instead of iptables.
  public let enableNFTables: Bool
  /// The back end's type in lower case; `udp` when there is no `Backend`, empty when it has no `Type`.
  public let backendType: String
  /// All members of `Backend`, `Type` included; look up with `caseInsensitive`.
  public let backendOptions: JSONObject

  private let lengths: PerFamily<Int>
  private let minimums: PerFamily<IPAddress>
  private let maximums: PerFamily<IPAddress>

  /// Parses the configuration. Keys are matched without regard to case, unknown ones are ignored, the last duplicate
  /// wins, `null` counts as absent. Only forms are checked here: see `validate` for the sense of it.
  public init(parsing bytes: [UInt8]) throws(ConfigurationError) {
    let root: JSONValue
    do { root = try JSONValue(parsing: bytes) } catch { throw .json(error) }
    guard let object = root.objectValue else {
      throw .value(key: "net-conf", value: root.kind, expected: "a JSON object")
    }
    let fields = ConfigurationFields(object)
    let v4 = try fields.bool("EnableIPv4") ?? true
    let v6 = try fields.bool("EnableIPv6") ?? false
    enabledFamilies = (v4 ? [.ipv4] : []) + (v6 ? [.ipv6] : [])
    enableNFTables = try fields.bool("EnableNFTables") ?? false
    networks = PerFamily(ipv4: try fields.network(.ipv4), ipv6: try fields.network(.ipv6))
    lengths = PerFamily(ipv4: try fields.length(.ipv4), ipv6: try fields.length(.ipv6))
    minimums = PerFamily(ipv4: try fields.address("SubnetMin", .ipv4), ipv6: try fields.address("SubnetMin", .ipv6))
    maximums = PerFamily(ipv4: try fields.address("SubnetMax", .ipv4), ipv6: try fields.address("SubnetMax", .ipv6))
    backendOptions = try fields.object("Backend") ?? JSONObject()
    let type = try ConfigurationFields(backendOptions, path: "Backend.").string("Type") ?? ""
    backendType = try fields.object("Backend") == nil ? "udp" : type.lowercased()
  }

  /// Parses a text.
  public init(parsing text: String) throws(ConfigurationError) { try self.init(parsing: Array(text.utf8)) }

  /// True when the family is enabled.
  public func isEnabled(_ family: AddressFamily) -> Bool { enabledFamilies.contains(family) }

  /// The pod network of an enabled family; nil when the family is disabled or has none.
  public func network(_ family: AddressFamily) -> IPPrefix? { isEnabled(family) ? networks[family] : nil }

  /// The subnets that a registry may give out for a family. Keys of the family are looked at whether enabled or not.
  public func pool(_ family: AddressFamily) throws(ConfigurationError) -> SubnetPool {
    // The zero prefix is what the Go daemon takes for "not given".
    guard let network = networks[family], !(network.length == 0 && network.base.isUnspecified) else {
      throw .networkMissing(family)
    }
    return try SubnetPool(
      network: network, length: lengths[family], min: minimums[family], max: maximums[family])
  }

  /// Checks what every mode needs: a family, and a network for each enabled one.
  /// - Parameter pools: also check the `Subnet…` keys, as a registry needs them; with Kubernetes they have no effect.
  public func validate(pools: Bool) throws(ConfigurationError) {
    guard !enabledFamilies.isEmpty else { throw .noFamily }
    for family in enabledFamilies {
      if pools { _ = try pool(family) }
      guard let network = networks[family], network.length > 0 else { throw .networkMissing(family) }
    }
  }
}

/// Typed access to the members of an object; errors name the key, the value and what was expected.
struct ConfigurationFields {
  private let members: JSONObject
  private let path: String

  init(_ members: JSONObject, path: String = "") {
    self.members = members
    self.path = path
  }

  private func value(_ key: String) -> JSONValue? {
    guard let v = members.caseInsensitive(key), !v.isNull else { return nil }
    return v
  }

  private func wrong(_ key: String, _ value: JSONValue, _ expected: String) -> ConfigurationError {
    let text = value.text()
    return .value(key: path + key, value: text.utf8.count <= 80 ? text : "this \(value.kind)", expected: expected)
  }

  func bool(_ key: String) throws(ConfigurationError) -> Bool? {
    guard let v = value(key) else { return nil }
    guard let b = v.boolValue else { throw wrong(key, v, "true or false without quotes") }
    return b
  }

  func string(_ key: String) throws(ConfigurationError) -> String? {
    guard let v = value(key) else { return nil }
    guard let s = v.stringValue else { throw wrong(key, v, "a string") }
    return s
  }

  func object(_ key: String) throws(ConfigurationError) -> JSONObject? {
    guard let v = value(key) else { return nil }
    guard let o = v.objectValue else { throw wrong(key, v, "a JSON object such as {\"Type\": \"vxlan\"}") }
    return o
  }

  /// `Network` or `IPv6Network`, host bits cleared.
  func network(_ family: AddressFamily) throws(ConfigurationError) -> IPPrefix? {
    let key = family.keyPrefix + "Network"
    guard let v = value(key) else { return nil }
    guard let s = v.stringValue, let p = IPPrefix(s), p.family == family else {
      throw wrong(
        key, v,
        family == .ipv4 ? "an IPv4 network such as \"10.244.0.0/16\"" : "an IPv6 network such as \"fd00:10:244::/56\"")
    }
    return p.network
  }

  /// `SubnetLen` or `IPv6SubnetLen`; 0 means not given, as in the Go daemon.
  func length(_ family: AddressFamily) throws(ConfigurationError) -> Int? {
    let key = family.keyPrefix + "SubnetLen"
    guard let v = value(key) else { return nil }
    guard let n = v.intValue, n >= 0 else { throw wrong(key, v, "a prefix length without quotes") }
    return n == 0 ? nil : n
  }

  /// An address key of a family; the zero address means not given, as in the Go daemon.
  func address(_ name: String, _ family: AddressFamily) throws(ConfigurationError) -> IPAddress? {
    let key = family.keyPrefix + name
    guard let v = value(key) else { return nil }
    guard let s = v.stringValue, let a = IPAddress(s), a.family == family else {
      throw wrong(key, v, "an \(family == .ipv4 ? "IPv4" : "IPv6") address in quotes")
    }
    return a.isUnspecified ? nil : a
  }
}
