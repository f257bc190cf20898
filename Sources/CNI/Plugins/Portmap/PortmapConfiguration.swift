import Firewall
import JSON
import NetTypes

/// The configuration of the `portmap` plugin, checked completely before anything is touched (contract cni §B5).
struct PortmapConfiguration: Hashable, Sendable {
  var backend = RuleBackend.iptables
  /// Connections from the host itself and from the container to itself get the host's address as their source.
  var snat = true
  /// So do all connections.
  var masqueradesAll = false
  /// Further conditions of the rules by family: words for iptables, or for nft.
  var conditions: [AddressFamily: [String]] = [:]
  /// The bit by which connections to be masqueraded are marked; iptables only.
  var markBit = 13
  /// A chain of somebody else that sets the mark; iptables only.
  var externalMarkChain: String?
  var mappings: [PortMapping] = []

  /// The mark of connections to be masqueraded.
  var mark: UInt32 { 1 << UInt32(markBit) }

  init() {}

  /// Reads and checks the object on standard input.
  /// - Parameter environment: where iptables is looked for, when no back end is named.
  init(_ config: JSONObject, _ environment: PluginEnvironment) throws(CNIError) {
    do throws(CNIError) {
      try read(config)
      try chooseBackend(try config.string("backend"), environment)
    } catch {
      throw error.code == .decodingFailure
        ? .decoding("failed to parse config: \(error.message)") : error.prefixed("failed to parse config: ")
    }
  }

  /// What DEL can use: the mappings whose connections are to be forgotten. Nothing in it is an error, so that a
  /// configuration that became wrong does not keep rules for ever.
  init(removal config: JSONObject) {
    for v in (try? config.object("runtimeConfig")?.array("portMappings")) ?? [] {
      if let m = try? PortMapping(json: v) { mappings.append(m) }
    }
  }

  private mutating func read(_ o: JSONObject) throws(CNIError) {
    snat = try o.bool("snat") ?? true
    masqueradesAll = try o.bool("masqAll") ?? false
    for (family, name) in [(AddressFamily.ipv4, "conditionsV4"), (.ipv6, "conditionsV6")] {
      let words = try o.strings(name)
      if !words.isEmpty { conditions[family] = words }
    }
    externalMarkChain = try o.string("externalSetMarkChain")
    let bit = try o.integer("markMasqBit")
    if externalMarkChain != nil, bit != nil {
      throw .plain("Cannot specify externalSetMarkChain and markMasqBit", .invalidConfiguration)
    }
    markBit = bit ?? markBit
    guard (0...31).contains(markBit) else {
      throw .plain("MasqMarkBit must be between 0 and 31", .invalidConfiguration)
    }
    try Self.check(chain: externalMarkChain)
    for v in try o.object("runtimeConfig")?.array("portMappings") ?? [] { mappings.append(try PortMapping(json: v)) }
  }

  private static func check(chain: String?) throws(CNIError) {
    guard let chain else { return }
    guard (1...28).contains(chain.utf8.count), chain.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != 0x22 }),
      chain.utf8.first != UInt8(ascii: "-"), chain.utf8.first != UInt8(ascii: "!")
    else {
      throw .plain(
        "Invalid externalSetMarkChain \(quoted(chain)): expected the name of a chain, 1 to 28 characters",
        .invalidConfiguration)
    }
  }

  private mutating func chooseBackend(_ name: String?, _ environment: PluginEnvironment) throws(CNIError) {
    if let name {
      guard let known = RuleBackend(rawValue: name) else {
        throw .plain("unrecognized backend \(quoted(name))", .invalidConfiguration)
      }
      backend = known
    } else {
      backend = .automatic(environment)
    }
    let wrong = specific(to: backend.other)
    guard wrong.isEmpty else {
      throw .plain(
        "\(backend) backend was requested but configuration contains \(backend.other)-specific options "
          + "[\(wrong.joined(separator: " "))]", .invalidConfiguration)
    }
  }

  /// The keys that only make sense with a back end. Conditions tell by their first character whose words they are.
  private func specific(to backend: RuleBackend) -> [String] {
    var out: [String] = []
    if externalMarkChain != nil, backend == .iptables { out.append("externalSetMarkChain") }
    for (family, name) in [(AddressFamily.ipv4, "conditionsV4"), (.ipv6, "conditionsV6")] {
      guard let first = conditions[family]?.first?.utf8.first else { continue }
      let isIptables = first == UInt8(ascii: "-") || first == UInt8(ascii: "!")
      if isIptables == (backend == .iptables) { out.append(name) }
    }
    return out
  }
}

extension CNIResult {
  /// The first address of each family that the container has on the interface: those of an interface of that name with
  /// a sandbox, and those that name no interface (contract cni §B5).
  func addresses(ofContainer ifname: String) -> [AddressFamily: IPPrefix] {
    var out: [AddressFamily: IPPrefix] = [:]
    for ip in ips where out[ip.address.family] == nil {
      if let i = ip.interface {
        guard interfaces.indices.contains(i), interfaces[i].name == ifname, !interfaces[i].sandbox.isEmpty else {
          continue
        }
      }
      out[ip.address.family] = ip.address
    }
    return out
  }
}
