import JSON
import NetTypes

/// The configuration of the `bridge` plugin, checked completely before anything is touched (contract cni §B2).
struct BridgeConfiguration: Hashable, Sendable {
  /// Name of the bridge device on the host.
  var bridge = "cni0"
  /// The bridge gets the gateway address of each subnet, and forwarding is switched on.
  var isGateway = false
  /// The container gets a default route through the gateway; implies `isGateway`.
  var isDefaultGateway = false
  /// A conflicting address of the bridge is replaced.
  var forceAddress = false
  /// What the container sends beyond its subnet gets the host's address.
  var ipMasq = false
  /// What programs the rules for that; nil = whatever the host has.
  var ipMasqBackend: RuleBackend?
  /// MTU of the veth pair and of a new bridge in bytes; 0 = the kernel's default.
  var mtu: UInt32 = 0
  var hairpinMode = false
  var promiscMode = false
  /// Access VLAN of the port; 0 = none.
  var vlan: UInt16 = 0
  /// Tagged VLANs of the port: sorted, without duplicates, neighbours joined.
  var trunk: [ClosedRange<UInt16>] = []
  /// VLAN 1 stays on a port that has VLANs of its own.
  var preserveDefaultVLAN = true
  /// The container can send with its own MAC address only.
  var macSpoofCheck = false
  /// Duplicate address detection in the container.
  var enableDAD = false
  /// The container's interface stays down.
  var disableContainerInterface = false
  var portIsolation = false
  /// MAC address asked for the container; nil = the kernel's choice.
  var mac: MACAddress?
  /// Type of the IPAM plugin; empty = layer 2 only.
  var ipamType = ""
  /// Resolver settings that win over those of the IPAM plugin.
  var dns = CNIResult.DNS()

  /// A port with VLANs of its own needs a bridge that filters.
  var needsVLANFiltering: Bool { vlan != 0 || !trunk.isEmpty }
  var hasIPAM: Bool { !ipamType.isEmpty }

  /// The interface that carries the gateway of a VLAN; nil when that is the bridge itself or there is no gateway.
  var gatewayDevice: String? { isGateway && vlan != 0 ? "\(bridge).\(vlan)" : nil }

  init() {}

  /// Reads and checks the configuration of a call.
  init(_ request: CNIRequest) throws(CNIError) {
    try self.init(request.config, argumentMAC: try request.arguments().last { $0.name == "MAC" }?.value)
  }

  /// Reads and checks the object on standard input.
  /// - Parameter argumentMAC: the value of `MAC` in `CNI_ARGS`.
  init(_ config: JSONObject, argumentMAC: String? = nil) throws(CNIError) {
    do throws(CNIError) {
      try read(config)
    } catch {
      throw error.code == .decodingFailure ? .decoding("failed to load netconf: \(error.message)") : error
    }
    mac = try Self.containerMAC(config, argumentMAC)
    if let gateway = gatewayDevice, gateway.utf8.count > 15 {
      throw .configuration(
        "invalid bridge name \(quoted(bridge)): the gateway interface \(quoted(gateway)) of VLAN \(vlan) is longer than 15 "
          + "characters")
    }
    if disableContainerInterface, hasIPAM {
      throw .configuration("cannot use IPAM when DisableContainerInterface flag is set")
    }
    if hairpinMode, promiscMode {
      throw .configuration("cannot set hairpin mode and promiscuous mode at the same time")
    }
  }

  /// What DEL and GC need: the name, the address plugin and which rules there may be. What only ADD uses is not looked at, so that a configuration
  /// that became wrong does not keep an attachment for ever.
  init(removal config: JSONObject) throws(CNIError) {
    if let name = config.field("bridge")?.stringValue { bridge = name }
    ipMasq = config.field("ipMasq")?.boolValue ?? false
    macSpoofCheck = config.field("macspoofchk")?.boolValue ?? false
    do throws(CNIError) {
      ipamType = try config.object("ipam")?.string("type") ?? ""
    } catch {
      throw .decoding("failed to load netconf: \(error.message)")
    }
  }

  private mutating func read(_ o: JSONObject) throws(CNIError) {
    if let name = try o.string("bridge") { bridge = name }
    try Self.checkName(bridge)
    isDefaultGateway = try o.bool("isDefaultGateway") ?? false
    isGateway = try o.bool("isGateway") ?? false || isDefaultGateway
    forceAddress = try o.bool("forceAddress") ?? false
    ipMasq = try o.bool("ipMasq") ?? false
    if let backend = try o.string("ipMasqBackend"), ipMasq, !backend.isEmpty {
      ipMasqBackend = RuleBackend(rawValue: backend)
      if ipMasqBackend == nil { throw .configuration("unknown ipmasq backend \(quoted(backend))") }
    }
    mtu = try Self.mtu(try o.integer("mtu") ?? 0)
    hairpinMode = try o.bool("hairpinMode") ?? false
    promiscMode = try o.bool("promiscMode") ?? false
    vlan = try Self.vlan(try o.integer("vlan") ?? 0)
    trunk = try Self.trunk(try o.array("vlanTrunk") ?? [])
    preserveDefaultVLAN = try o.bool("preserveDefaultVlan") ?? true
    macSpoofCheck = try o.bool("macspoofchk") ?? false
    enableDAD = try o.bool("enabledad") ?? false
    disableContainerInterface = try o.bool("disableContainerInterface") ?? false
    portIsolation = try o.bool("portIsolation") ?? false
    ipamType = try o.object("ipam")?.string("type") ?? ""
    dns = try CNIResult.DNS(json: o.field("dns"))
  }
}

// MARK: - Single values

extension BridgeConfiguration {
  /// A name the kernel takes, which is also safe as a part of a path.
  private static func checkName(_ name: String) throws(CNIError) {
    let forbidden: Set<UInt8> = [0, 0x20, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, UInt8(ascii: "/"), UInt8(ascii: ":")]
    guard (1...15).contains(name.utf8.count), name != ".", name != "..", !name.utf8.contains(where: forbidden.contains)
    else {
      throw .configuration(
        "invalid bridge name \(quoted(name)): expected 1 to 15 characters without /, : and white space")
    }
  }

  private static func mtu(_ value: Int) throws(CNIError) -> UInt32 {
    guard value == 0 || (68...65535).contains(value) else {
      throw .configuration("invalid MTU \(value) (must be 0 for the default, or between 68 and 65535)")
    }
    return UInt32(value)
  }

  private static func vlan(_ value: Int) throws(CNIError) -> UInt16 {
    guard (0...4094).contains(value) else {
      throw .configuration("invalid VLAN ID \(value) (must be between 0 and 4094)")
    }
    return UInt16(value)
  }

  /// `CNI_ARGS` `MAC=` is the weakest, then `args.cni.mac`, then `runtimeConfig.mac`.
  private static func containerMAC(_ config: JSONObject, _ argument: String?) throws(CNIError) -> MACAddress? {
    var text = argument ?? ""
    if let m = try config.object("args")?.object("cni")?.string("mac"), !m.isEmpty { text = m }
    if let m = try config.object("runtimeConfig")?.string("mac"), !m.isEmpty { text = m }
    guard !text.isEmpty else { return nil }
    guard let mac = MACAddress(text) else { throw .configuration("address \(text): invalid MAC address") }
    guard mac.value != 0, mac.value >> 40 & 1 == 0 else {
      throw .configuration("address \(text): the container needs a unicast MAC address")
    }
    return mac
  }

  /// The VLANs of `vlanTrunk`: each entry is a range, a single id, or both.
  static func trunk(_ entries: [JSONValue]) throws(CNIError) -> [ClosedRange<UInt16>] {
    var ids = Set<UInt16>()
    for entry in entries {
      guard let o = entry.objectValue else { throw wrongKind("vlanTrunk", entry, "object") }
      switch (try o.integer("minID"), try o.integer("maxID")) {
      case (let low?, let high?):
        let low = try trunkID(low, "minID")
        let high = try trunkID(high, "maxID")
        guard low <= high else { throw .configuration("minID is greater than maxID in trunk parameter") }
        ids.formUnion(low...high)
      case (nil, .some):
        throw .configuration("minID and maxID should be configured simultaneously, minID is missing")
      case (.some, nil):
        throw .configuration("minID and maxID should be configured simultaneously, maxID is missing")
      case (nil, nil): break
      }
      if let id = try o.integer("id") { ids.insert(try trunkID(id, "id")) }
    }
    return joined(ids)
  }

  private static func trunkID(_ value: Int, _ name: String) throws(CNIError) -> UInt16 {
    guard (1...4094).contains(value) else { throw .configuration("incorrect trunk \(name) parameter") }
    return UInt16(value)
  }

  /// Consecutive numbers become one range.
  private static func joined(_ ids: Set<UInt16>) -> [ClosedRange<UInt16>] {
    var out: [ClosedRange<UInt16>] = []
    for id in ids.sorted() {
      if let last = out.last, last.upperBound + 1 == id {
        out[out.count - 1] = last.lowerBound...id
      } else {
        out.append(id...id)
      }
    }
    return out
  }
}
