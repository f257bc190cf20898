import NetTypes
import Netlink

/// One CHECK: compares what ADD reported with what is there (contract cni §B2). Every difference is code 999.
struct PodCheck: ~Copyable {
  let configuration: BridgeConfiguration
  let request: CNIRequest
  var namespaces: PodNamespaces

  init(_ configuration: BridgeConfiguration, _ request: CNIRequest, _ namespaces: consuming PodNamespaces) {
    self.configuration = configuration
    self.request = request
    self.namespaces = namespaces
  }

  /// Throws the first difference.
  mutating func run(_ result: CNIResult) throws(CNIError) {
    let claims = result.interfaces
    guard let bridgeClaim = claims.first(where: { $0.name == configuration.bridge && $0.sandbox.isEmpty }) else {
      throw .plain("CNI created bridge \(configuration.bridge) in host namespace was not found")
    }
    let bridge = try checkBridge(bridgeClaim)
    let named = claims.filter { $0.name == request.ifname && !$0.sandbox.isEmpty }
    guard let claim = named.first(where: { $0.sandbox == request.netns }) else {
      throw .plain(
        "Sandbox in prevResult \(named.first?.sandbox ?? "") doesn't match configured netns: \(request.netns)")
    }
    let container = try checkContainer(claim)
    let port = try checkHostEnd(claims, bridge: bridge, container: container)
    try checkAddresses(result.ips, claims, container)
    try checkRoutes(result.routes, container)
    if configuration.macSpoofCheck, let mac = container.mac {
      var rules = try MACSpoofRules()
      try rules.check(MACSpoofCheck(attachment: request.attachment), port: port, mac: mac)
    }
    if configuration.ipMasq {
      try MasqueradeRules.check(
        Masquerade(request, result.ips.map(\.address)), configuration.ipMasqBackend, request.environment)
    }
  }

  private mutating func checkBridge(_ claim: CNIResult.Interface) throws(CNIError) -> Link {
    let found = try doing("Bridge interface \(claim.name)") { () throws(NetlinkError) in
      try namespaces.host.link(named: claim.name)
    }
    guard let link = found else { throw .plain("Interface name \(claim.name) not found") }
    guard case .bridge = link.kind else {
      throw .plain("Interface \(claim.name) does not have link type of bridge")
    }
    guard matches(claim, link) else {
      throw .plain("Bridge interface \(claim.name) Mac doesn't match: \(claim.mac)")
    }
    if configuration.promiscMode, !link.isPromiscuous {
      throw .plain("Bridge interface \(claim.name) configured Promisc Mode true doesn't match current state: false")
    }
    return link
  }

  private mutating func checkContainer(_ claim: CNIResult.Interface) throws(CNIError) -> Link {
    let found = try doing("Container interface \(claim.name)") { () throws(NetlinkError) in
      try namespaces.pod.link(named: claim.name)
    }
    guard let link = found else { throw .plain("Interface name \(claim.name) not found") }
    guard link.kind == .veth else { throw .plain("Container interface \(claim.name) not of type veth") }
    guard matches(claim, link) else {
      throw .plain("Interface \(claim.name) Mac doesn't match: \(claim.mac)")
    }
    return link
  }

  /// One of the other interfaces of the result is the container's peer and a port of the bridge. Returns its name.
  private mutating func checkHostEnd(
    _ claims: [CNIResult.Interface], bridge: Link, container: Link
  ) throws(CNIError) -> String {
    let candidates = claims.filter { $0.sandbox.isEmpty && $0.name != bridge.name }
    let other = try doing("Host interface of \(container.name)") { () throws(NetlinkError) in
      try namespaces.host.link(index: container.parent)
    }
    guard let other, other.kind == .veth, other.parent == container.index, other.master == bridge.index,
      let claim = candidates.first(where: { $0.name == other.name })
    else { throw .plain("CNI veth created for bridge \(configuration.bridge) was not found") }
    guard matches(claim, other) else { throw .plain("Interface \(claim.name) Mac doesn't match: \(claim.mac)") }
    return other.name
  }

  /// A claim without a MAC matches every link.
  private func matches(_ claim: CNIResult.Interface, _ link: Link) -> Bool {
    claim.mac.isEmpty || MACAddress(claim.mac) == link.mac
  }

  private mutating func checkAddresses(
    _ ips: [CNIResult.IP], _ claims: [CNIResult.Interface], _ container: Link
  ) throws(CNIError) {
    guard !ips.isEmpty else { return }
    let present = try doing("Addresses of \(container.name)") { () throws(NetlinkError) in
      try namespaces.pod.addresses(device: container.index)
    }
    for ip in ips {
      if let i = ip.interface, !claims.indices.contains(i) || claims[i].name != container.name { continue }
      guard present.contains(where: { $0.prefix == ip.address }) else {
        throw .plain("Failed to match addr \(ip.address) on interface \(container.name)")
      }
    }
  }

  private mutating func checkRoutes(_ routes: [CNIResult.Route], _ container: Link) throws(CNIError) {
    for family in AddressFamily.allCases {
      let expected = routes.filter { $0.dst.family == family }
      guard !expected.isEmpty else { continue }
      let present = try doing("Routes of \(container.name)") { () throws(NetlinkError) in
        try namespaces.pod.routes(family, table: 0, device: 0)
      }
      for r in expected {
        let there = present.contains {
          $0.destination == r.dst.network && (r.gw == nil || $0.gateway == r.gw)
            && $0.table == UInt32(clamping: r.table ?? 254)
        }
        guard there else {
          let via = r.gw.map { " via \($0)" } ?? ""
          throw .plain("Expected Route \(r.dst)\(via) not found in routing table")
        }
      }
    }
  }
}
