public import NetTypes

/// Another node, as far as the overlay is concerned.
public struct Peer: Hashable, Sendable {
  /// Pod subnets.
  public var subnets: PerFamily<IPPrefix>
  /// Addresses under which the node is reached.
  public var publicIPs: PerFamily<IPAddress>
  /// MACs of its VXLAN devices.
  public var macs: PerFamily<MACAddress>
  /// When its lease ends, ns since the epoch; nil = never. Of two leases that claim the same MAC the one renewed last
  /// is the living one.
  public var expiration: Int64?
  /// The node's name where it is known; else empty.
  public var name: String
  /// Of two peers that claim the same addresses the one with the lower rank is served.
  public var rank: Int

  /// Values per family may be missing: such a peer is served for the families that are complete.
  public init(
    subnets: PerFamily<IPPrefix>, publicIPs: PerFamily<IPAddress>, macs: PerFamily<MACAddress>,
    expiration: Int64? = nil,
    name: String = "", rank: Int = 0
  ) {
    self.name = name
    self.rank = rank
    self.subnets = subnets
    self.publicIPs = publicIPs
    self.macs = macs
    self.expiration = expiration
  }
}

/// The external interface as it is now.
public struct Underlay: Hashable, Sendable {
  /// Interface name; the index may change when it is created again.
  public var name: String
  /// Interface index.
  public var index: Int32
  /// MTU in bytes.
  public var mtu: UInt32
  /// Source addresses of encapsulated packets.
  public var addresses: PerFamily<IPAddress>

  /// - Parameters:
  ///   - index: that of the moment; another one when the interface was created again.
  ///   - mtu: bytes.
  ///   - addresses: one for each enabled family.
  public init(name: String, index: Int32, mtu: UInt32, addresses: PerFamily<IPAddress>) {
    self.name = name
    self.index = index
    self.mtu = mtu
    self.addresses = addresses
  }
}

/// Plans what the vxlan back end needs in the kernel (contract flanneld §12). Pure: takes values, returns values.
public struct VXLANPlanner: Sendable {
  /// Options of the back end.
  public var configuration: VXLANConfiguration
  /// Cluster networks of the enabled families.
  public var networks: PerFamily<IPPrefix>

  /// The enabled families are those that have a network.
  public init(configuration: VXLANConfiguration, networks: PerFamily<IPPrefix>) {
    self.configuration = configuration
    self.networks = networks
  }

  /// The devices of the enabled families (contract §12.1).
  public func devices(on underlay: Underlay, macs: PerFamily<MACAddress>) -> [Link] {
    networks.families.map { family in
      Link(
        name: configuration.deviceName(family),
        kind: .vxlan(
          VXLANOptions(
            vni: configuration.vni, underlay: underlay.index, local: underlay.addresses[family],
            port: configuration.port, learning: configuration.learning, gbp: configuration.gbp)),
        mac: macs[family], mtu: configuration.deviceMTU(family, underlayMTU: underlay.mtu))
    }
  }

  /// What the plan depends on beside the peers.
  public struct Context {
    /// Own pod subnets.
    public var own: PerFamily<IPPrefix>
    /// Own published addresses: a lease with one of them is an old one of this node.
    public var ownPublicIPs: PerFamily<IPAddress>
    /// MACs of the own VXLAN devices.
    public var ownMACs: PerFamily<MACAddress>
    /// Indexes of the VXLAN devices.
    public var devices: PerFamily<Int32>
    /// Overlay routes currently use next-hop objects.
    public var usesNexthops: Bool
    /// Whether overlay routes use next-hop objects, when that is not to be decided by the number of peers.
    public var nexthopChoice: Bool?
    /// Ids of next-hop objects that are not ours.
    public var foreignNexthops: Set<UInt32>
    /// The own subnets get black-hole routes (`--ip-blackhole-route`).
    public var hasBlackholes: Bool
    /// For `DirectRouting`: the interface over which the kernel reaches an address without a gateway, or nil.
    public var directInterface: (IPAddress) -> Int32?

    /// By default nothing is in the kernel yet, and no node can be reached directly.
    public init(
      own: PerFamily<IPPrefix>, ownPublicIPs: PerFamily<IPAddress>,
      ownMACs: PerFamily<MACAddress> = PerFamily(), devices: PerFamily<Int32>,
      usesNexthops: Bool = false, foreignNexthops: Set<UInt32> = [], hasBlackholes: Bool = false,
      directInterface: @escaping (IPAddress) -> Int32? = { _ in nil }
    ) {
      self.own = own
      self.ownPublicIPs = ownPublicIPs
      self.ownMACs = ownMACs
      self.devices = devices
      self.usesNexthops = usesNexthops
      self.foreignNexthops = foreignNexthops
      self.hasBlackholes = hasBlackholes
      self.directInterface = directInterface
    }
  }

  /// Packets to addresses of the own subnet that no pod has end here, instead of at the default gateway (contract
  /// flanneld §3, step 16). The metric keeps it behind the bridge's own route, which an equal one would hide or be
  /// refused by.
  private static func blackhole(_ subnet: IPPrefix) -> Route {
    Route(destination: subnet, origin: RouteOrigin.weft, metric: 1024, kind: .blackhole)
  }

  /// Whether this many peers get next-hop objects; `current` gives the option `auto` its hysteresis.
  public func wantsNexthops(peers: Int, current: Bool) -> Bool {
    switch configuration.nexthopObjects {
    case .always: true
    case .never: false
    case .auto: peers >= (current ? VXLANConfiguration.fewPeers : VXLANConfiguration.manyPeers)
    }
  }

  /// Addresses, neighbours, forwarding entries and routes for the given peers (contract §12.2). Peers must be in a
  /// stable order: of two that claim the same thing the first one is served and the other one reported.
  public func plan(peers: [Peer], _ context: Context) -> NetworkPlan {
    var plan = NetworkPlan()
    let nexthops = context.nexthopChoice ?? wantsNexthops(peers: peers.count, current: context.usesNexthops)
    var usedIDs = context.foreignNexthops
    for family in networks.families {
      guard let network = networks[family], let own = context.own[family], let device = context.devices[family] else {
        continue
      }
      plan.addresses.append(InterfaceAddress(device: device, prefix: IPPrefix(host: own.base)))
      if context.hasBlackholes { plan.routes.append(Self.blackhole(own)) }
      plan.neighbours.reserveCapacity(plan.neighbours.count + peers.count)
      plan.fdb.reserveCapacity(plan.fdb.count + peers.count)
      plan.routes.reserveCapacity(plan.routes.count + peers.count)
      if nexthops { plan.nexthops.reserveCapacity(plan.nexthops.count + peers.count) }
      let served = servable(peers, family, network, own, context, &plan.warnings)
      let holders = Self.holders(served, family)
      for (subnet, peer) in served {
        guard let publicIP = peer.publicIPs[family] else { continue }
        if configuration.directRouting, let direct = context.directInterface(publicIP) {
          plan.routes.append(
            Route(destination: subnet, gateway: publicIP, device: direct, origin: RouteOrigin.weft))
          continue
        }
        guard let mac = peer.macs[family] else { continue }
        if let holder = holders[mac], holder != subnet {
          plan.warnings.append(
            "ignoring the lease of \(subnet) (\(publicIP)): its VTEP MAC \(mac) is also that of \(holder), "
              + "which \(peer.expiration == nil ? "was known first" : "was renewed later"); if both nodes are alive, delete \(configuration.deviceName(family)) on one and restart its agent"
          )
          continue
        }
        let gateway = subnet.base
        plan.neighbours.append(Neighbour(device: device, address: gateway, mac: mac))
        plan.fdb.append(FDBEntry(device: device, mac: mac, remote: publicIP))
        if nexthops {
          let id = Self.nexthopID(gateway, &usedIDs)
          plan.nexthops.append(
            Nexthop(id: id, gateway: gateway, device: device, isOnlink: true, origin: RouteOrigin.weft))
          plan.routes.append(Route(destination: subnet, device: device, nexthop: id))
        } else {
          plan.routes.append(Route(destination: subnet, gateway: gateway, device: device, isOnlink: true))
        }
      }
    }
    return plan
  }

  /// The peers whose plan may depend on some of them: these, and those that claim the same addresses or MACs, and so on.
  /// The plan for them alone is a part of the plan for all, except for the ids of next-hop objects of IPv6.
  public func related(to seeds: [Peer], in peers: [Peer]) -> [Peer] {
    var found = Set<Int>()
    var open = seeds
    while !open.isEmpty {
      let wanted = open
      open = []
      for i in peers.indices {
        for peer in wanted where Self.meet(peer, peers[i]) {
          if found.insert(i).inserted { open.append(peers[i]) }
          break
        }
      }
    }
    return found.sorted().map { peers[$0] }
  }

  // Spelled out by family: it is done for every peer of a large cluster with each change.
  private static func meet(_ a: Peer, _ b: Peer) -> Bool {
    overlap(a.subnets.ipv4, b.subnets.ipv4) || overlap(a.subnets.ipv6, b.subnets.ipv6)
      || isSame(a.macs.ipv4, b.macs.ipv4) || isSame(a.macs.ipv6, b.macs.ipv6)
  }

  private static func overlap(_ a: IPPrefix?, _ b: IPPrefix?) -> Bool {
    guard let a, let b else { return false }
    return a.overlaps(b)
  }

  private static func isSame(_ a: MACAddress?, _ b: MACAddress?) -> Bool {
    guard let a, let b else { return false }
    return a == b
  }

  /// The peers of a family that can be served, with their subnets, in ascending order of the subnets: inside the
  /// cluster network (contract §19.40), not this node's own, not overlapping another one, with an address and a MAC.
  private func servable(
    _ peers: [Peer], _ family: AddressFamily, _ network: IPPrefix, _ own: IPPrefix, _ context: Context,
    _ warnings: inout [String]
  ) -> [(IPPrefix, Peer)] {
    var candidates: [(IPPrefix, Peer)] = []
    candidates.reserveCapacity(peers.count)
    for peer in peers {
      // A lease for the own subnet without a node's name is this node's own.
      guard let subnet = peer.subnets[family], subnet != own || !peer.name.isEmpty else { continue }
      let title = Self.title(subnet, peer)
      if let problem = problem(peer, family, network, context) {
        warnings.append("ignoring the lease of \(title): \(problem)")
        continue
      }
      guard network.contains(subnet) else {
        warnings.append("ignoring the lease of \(title): it is outside of the cluster network \(network)")
        continue
      }
      guard peer.publicIPs[family] != nil, peer.macs[family] != nil || configuration.directRouting else {
        let missing = peer.publicIPs[family] == nil ? "public address" : "VTEP MAC"
        warnings.append(
          "ignoring the lease of \(title): it carries no \(missing) for \(family == .ipv4 ? "IPv4" : "IPv6")")
        continue
      }
      guard !subnet.overlaps(own) else {
        warnings.append("ignoring the lease of \(title): it overlaps this node's subnet \(own)")
        continue
      }
      candidates.append((subnet, peer))
    }
    candidates.sort { $0.0 != $1.0 ? $0.0 < $1.0 : $0.1.rank < $1.1.rank }
    // After sorting, an overlap is always with the last one kept.
    var kept: [(IPPrefix, Peer)] = []
    kept.reserveCapacity(candidates.count)
    for c in candidates {
      guard let last = kept.last, last.0.overlaps(c.0) else {
        kept.append(c)
        continue
      }
      let (served, ignored) = c.1.rank < last.1.rank ? (c, last) : (last, c)
      kept[kept.count - 1] = served
      warnings.append(
        "ignoring the lease of \(Self.title(ignored.0, ignored.1)): it overlaps the lease of "
          + Self.title(served.0, served.1))
    }
    return kept
  }

  /// `10.244.3.0/24`, with the node's name where it is known.
  private static func title(_ subnet: IPPrefix, _ peer: Peer) -> String {
    peer.name.isEmpty ? "\(subnet)" : "\(subnet) of node \(peer.name)"
  }

  /// Why a peer's address or MAC cannot be used, or nil.
  private func problem(_ peer: Peer, _ family: AddressFamily, _ network: IPPrefix, _ context: Context) -> String? {
    if let ip = peer.publicIPs[family] {
      if ip == context.ownPublicIPs[family] { return "its public address \(ip) is this node's own" }
      guard ip.isGlobalUnicast || ip.isLinkLocalUnicast else {
        return "its public address \(ip) is not an address of a node"
      }
      if network.contains(ip) { return "its public address \(ip) lies in the cluster network \(network)" }
    }
    if let mac = peer.macs[family] {
      guard mac.isUnicast else { return "its VTEP MAC \(mac) is not the address of a device" }
      if mac == context.ownMACs[family] { return "its VTEP MAC \(mac) is this node's own" }
    }
    return nil
  }

  /// Which subnet each MAC belongs to: the one whose lease was renewed last, of equals the one that was
  /// known first, then the lower one.
  private static func holders(_ peers: [(IPPrefix, Peer)], _ family: AddressFamily) -> [MACAddress: IPPrefix] {
    var out = [MACAddress: IPPrefix](minimumCapacity: peers.count)
    var claims: [MACAddress: (end: Int64, rank: Int)] = [:]
    for (subnet, peer) in peers {
      guard let mac = peer.macs[family] else { continue }
      let claim = (end: peer.expiration ?? .max, rank: peer.rank)
      if let known = claims[mac], (known.end, -known.rank) >= (claim.end, -claim.rank) { continue }
      out[mac] = subnet
      claims[mac] = claim
    }
    return out
  }

  /// A stable id for the next-hop object of a gateway: the IPv4 address itself, a hash of an IPv6 one, the next free
  /// number on a collision. Ids of other programs are usually small.
  private static func nexthopID(_ gateway: IPAddress, _ used: inout Set<UInt32>) -> UInt32 {
    var id: UInt32
    if gateway.family == .ipv4 {
      id = UInt32(truncatingIfNeeded: gateway.value)
    } else {
      var h: UInt64 = 14_695_981_039_346_656_037
      for shift in stride(from: 120, through: 0, by: -8) {
        h = (h ^ UInt64(truncatingIfNeeded: gateway.value >> UInt128(shift) & 0xff)) &* 1_099_511_628_211
      }
      id = UInt32(truncatingIfNeeded: h ^ h >> 32) | 0x8000_0000
    }
    while id == 0 || !used.insert(id).inserted { id &+= 1 }
    return id
  }
}
