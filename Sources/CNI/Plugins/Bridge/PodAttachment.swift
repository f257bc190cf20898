import NetTypes
import Netlink
import Syscalls

/// One ADD: the sockets, what has been made so far, and how to take it back.
struct PodAttachment: ~Copyable {
  let configuration: BridgeConfiguration
  let request: CNIRequest
  var namespaces: PodNamespaces
  /// The bridge as last read.
  var bridge = Link(name: "")
  /// The host's end of the veth pair as last read; index 0 until it exists.
  var hostEnd = Link(name: "")
  /// The container's end as last read.
  var containerEnd = Link(name: "")
  /// The interface of a VLAN's gateway.
  var gatewayEnd: Link?
  /// The IPAM plugin has given addresses, which must be returned if ADD fails.
  var holdsAddresses = false
  /// What ADD has programmed, which must be removed if it fails.
  var hasSpoofCheck = false
  var masquerade: Masquerade?

  init(_ configuration: BridgeConfiguration, _ request: CNIRequest, _ namespaces: consuming PodNamespaces) {
    self.configuration = configuration
    self.request = request
    self.namespaces = namespaces
  }

  /// Makes everything and says what it made.
  mutating func make() throws(CNIError) -> CNIResult {
    try ensureBridge()
    try createPair()
    let options = BridgePort(hairpin: configuration.hairpinMode, isolated: configuration.portIsolation)
    try configurePort(hostEnd, options, trunk: configuration.trunk)
    if configuration.macSpoofCheck { try filterSources() }
    var result = CNIResult()
    if configuration.hasIPAM {
      let answer = try request.delegateAdd(configuration.ipamType, request.ownConfiguration)
      holdsAddresses = true
      let plan = try PodPlan(answer, configuration)
      try setGateways(plan)
      if configuration.ipMasq { try masquerade(plan) }
      try configureContainer(plan)
      result = CNIResult(ips: plan.ips, routes: plan.routes, dns: answer.dns)
    } else if !configuration.disableContainerInterface {
      try bringContainerUp()
    }
    if !configuration.disableContainerInterface { try awaitPort() }
    try refresh()
    result.interfaces = interfaces(mtu: request.version >= .v1_1_0)
    if !configuration.dns.isEmpty { result.dns = configuration.dns }
    return result
  }

  private mutating func filterSources() throws(CNIError) {
    guard let mac = containerEnd.mac else {
      throw .plain("failed to setup spoof-check: \(quoted(request.ifname)) has no MAC address")
    }
    hasSpoofCheck = true
    var rules = try MACSpoofRules()
    try rules.add(MACSpoofCheck(attachment: request.attachment), port: hostEnd.name, mac: mac)
  }

  private mutating func masquerade(_ plan: PodPlan) throws(CNIError) {
    let wanted = Masquerade(request, plan.ips.map(\.address))
    masquerade = wanted
    try MasqueradeRules.add(wanted, configuration.ipMasqBackend, request.environment)
  }

  /// Takes back what belongs to this container, the last thing first. Failures are logged: the error that led here is
  /// what the runtime must see.
  mutating func undo() {
    if let masquerade {
      attempt("remove masquerading") { () throws(CNIError) in
        try MasqueradeRules.remove(masquerade, request.environment)
      }
    }
    if holdsAddresses {
      attempt("return the addresses") { () throws(CNIError) in
        try request.delegate(configuration.ipamType, .del, request.ownConfiguration)
      }
    }
    if hasSpoofCheck {
      attempt("remove the spoof-check") { () throws(CNIError) in
        var rules = try MACSpoofRules()
        try rules.remove(MACSpoofCheck(attachment: request.attachment))
      }
    }
    let index = hostEnd.index
    if index != 0 {
      do throws(CNIError) {
        try deleteOnHost(index)
      } catch {
        request.log("bridge: cannot remove the veth pair of a failed ADD: \(error)")
      }
    }
    (masquerade, holdsAddresses, hasSpoofCheck, hostEnd.index) = (nil, false, false, 0)
  }

  private func attempt(_ what: String, _ body: () throws(CNIError) -> Void) {
    do throws(CNIError) {
      try body()
    } catch {
      request.log("bridge: cannot \(what) of a failed ADD: \(error)")
    }
  }

  mutating func deleteOnHost(_ index: Int32) throws(CNIError) {
    var batch = RouteBatch()
    batch.deleteLink(index: index)
    let failures = try doing("failed to delete a veth pair") { () throws(NetlinkError) in
      try namespaces.host.send(batch)
    }
    if let f = failures.first, f.errno != .noDevice { throw CNIError("failed to delete a veth pair", f) }
  }

  /// Names, indices and MACs may have changed since: ports change the bridge's MAC, programs on the host that of new
  /// interfaces.
  private mutating func refresh() throws(CNIError) {
    if configuration.disableContainerInterface { hostEnd = try hostLink(hostEnd.index, hostEnd.name) }
    bridge = try hostLink(bridge.index, bridge.name)
    if let g = gatewayEnd { gatewayEnd = try hostLink(g.index, g.name) }
  }

  /// A link of the host that must be there.
  mutating func hostLink(_ index: Int32, _ name: String) throws(CNIError) -> Link {
    let link = try doing("could not lookup \(quoted(name))") { () throws(NetlinkError) in
      try namespaces.host.link(index: index)
    }
    guard let link else { throw .plain("could not lookup \(quoted(name)): it was deleted meanwhile", .ioFailure) }
    return link
  }

  /// The interfaces of the result: bridge, host end, container end, gateway of a VLAN.
  private func interfaces(mtu: Bool) -> [CNIResult.Interface] {
    func entry(_ l: Link, _ sandbox: String = "") -> CNIResult.Interface {
      CNIResult.Interface(
        name: l.name, mac: l.mac?.description ?? "", mtu: mtu ? Int(l.mtu) : 0, sandbox: sandbox)
    }
    var out = [entry(bridge), entry(hostEnd), entry(containerEnd, request.netns)]
    if let gatewayEnd { out.append(entry(gatewayEnd)) }
    return out
  }
}
