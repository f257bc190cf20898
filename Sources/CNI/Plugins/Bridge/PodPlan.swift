import NetTypes

/// What the container shall look like, worked out from the configuration and the IPAM plugin's answer. Pure.
struct PodPlan: Hashable, Sendable {
  /// Position of the container's interface in the result: bridge, host end, container end.
  static let containerInterface = 2

  /// The addresses of the result, with their gateways and the container's interface.
  var ips: [CNIResult.IP]
  /// The routes of the result, default routes included.
  var routes: [CNIResult.Route]
  /// The addresses the bridge must have: each gateway with the length of its subnet, without duplicates.
  var gateways: [IPPrefix] = []

  /// - Throws: `IPAM plugin returned missing IP config` when there is no address.
  init(_ ipam: CNIResult, _ configuration: BridgeConfiguration) throws(CNIError) {
    guard !ipam.ips.isEmpty else { throw .plain("IPAM plugin returned missing IP config") }
    ips = ipam.ips
    routes = ipam.routes
    for i in ips.indices {
      ips[i].interface = Self.containerInterface
      guard configuration.isGateway else { continue }
      let address = ips[i].address
      guard let gateway = ips[i].gateway ?? address.base.advanced(by: 1), gateway.family == address.family else {
        throw .plain("cannot find a gateway for \(address): the subnet has no further address")
      }
      ips[i].gateway = gateway
      let prefix = IPPrefix(base: gateway, length: address.length)
      if !gateways.contains(prefix) { gateways.append(prefix) }
      if configuration.isDefaultGateway { addDefaultRoute(via: gateway) }
    }
  }

  /// Adds the default route of a family unless there is one with a gateway.
  private mutating func addDefaultRoute(via gateway: IPAddress) {
    let any = gateway.family.any
    if !routes.contains(where: { $0.dst.network == any && $0.gw != nil }) {
      routes.append(CNIResult.Route(dst: any, gw: gateway))
    }
  }

  /// True when an IPv6 address is among those to be set.
  var hasIPv6: Bool { ips.contains { $0.address.family == .ipv6 } }
  /// True when routes depend on usable IPv6 addresses.
  var hasIPv6Gateway: Bool { ips.contains { $0.gateway?.family == .ipv6 } }

  /// The addresses to be set on the container's interface.
  func addresses(device: Int32) -> [InterfaceAddress] {
    ips.map { InterfaceAddress(device: device, prefix: $0.address, broadcast: $0.address.broadcast) }
  }

  /// The routes to be set in the container. A route without a gateway takes that of the first address of its family. Of
  /// routes that are then the same for the kernel, which would refuse the second, the first stays.
  func kernelRoutes(device: Int32) -> [Route] {
    var out: [Route] = []
    for r in routes {
      let route = Route(
        destination: r.dst.network, gateway: r.gw ?? firstGateway(r.dst.family), device: device,
        table: UInt32(clamping: r.table ?? 254), scope: UInt8(clamping: r.scope ?? 0),
        metric: r.priority == 0 ? nil : UInt32(clamping: r.priority), mtu: UInt32(clamping: r.mtu))
      let known = out.contains {
        $0.destination == route.destination && $0.gateway == route.gateway && $0.table == route.table
          && $0.metric == route.metric
      }
      if !known { out.append(route) }
    }
    return out
  }

  private func firstGateway(_ family: AddressFamily) -> IPAddress? {
    for ip in ips { if let g = ip.gateway, g.family == family { return g } }
    return nil
  }
}

/// The change of the bridge's addresses that gives it the gateways. Pure.
struct GatewayPlan: Hashable, Sendable {
  var additions: [IPPrefix] = []
  var removals: [IPPrefix] = []

  /// An address that is there already needs nothing. IPv4 allows no other address beside it, IPv6 none of an overlapping
  /// subnet: `force` replaces those, otherwise they are an error. All gateways are checked before any is added
  /// (contract cni §C 13).
  init(_ gateways: [IPPrefix], on name: String, present: [IPPrefix], force: Bool) throws(CNIError) {
    var there = present
    for gateway in gateways where !there.contains(gateway) {
      for other in there where Self.conflict(gateway, other) {
        guard force else {
          throw .plain("failed to set bridge addr: \(quoted(name)) already has an IP address different from \(gateway)")
        }
        if !gateways.contains(other) { removals.append(other) }
      }
      there.removeAll { removals.contains($0) }
      there.append(gateway)
      additions.append(gateway)
    }
  }

  private static func conflict(_ gateway: IPPrefix, _ other: IPPrefix) -> Bool {
    guard gateway.family == other.family else { return false }
    return gateway.family == .ipv4 || gateway.overlaps(other)
  }

  var isEmpty: Bool { additions.isEmpty && removals.isEmpty }
}

extension IPPrefix {
  /// The broadcast address of an IPv4 subnet; nil for IPv6 and for subnets of one or two addresses.
  var broadcast: IPAddress? { family == .ipv4 && length < 31 ? last : nil }
}
