import Backends
import HostNetwork
import Logging
import NetTypes
import Netlink
import Reconciler
import Subnets
import Syscalls

/// The vxlan back end at work: holds the latest inputs (lease snapshot, underlay), plans, and makes the kernel agree,
/// woken by kernel notifications and its schedule. Owned by the agent's one thread.
struct VXLANDataPath: ~Copyable {
  let planner: VXLANPlanner
  private let interfaceName: String
  private let baseMTU: UInt32
  private let published: PerFamily<IPAddress>
  private let hasBlackholes: Bool
  let log: Logger

  var host: HostNetwork
  private var monitor: RouteMonitor
  private var schedule = Schedule()
  private var underlay: Underlay
  private var macs: PerFamily<MACAddress>
  var own: PerFamily<IPPrefix>?
  /// The leases that `peers` are made from.
  var leases: [Lease] = []
  var peers: [Peer] = []
  private var revision: UInt64?
  private var leaseWarnings: [String] = []
  var relevance: Relevance?
  /// What the last pass over everything planned with.
  var context: VXLANPlanner.Context?
  private var usesNexthops = false
  var logged: Set<String> = []
  private var lastFailures: [ApplyFailure] = []
  private var hasConverged = false
  /// Something may be different in the kernel.
  private var isKernelDirty = true
  /// When everything was looked at last, monotonic ns.
  private var lastLook: Int64 = 0
  /// The last passes were large: memory can be given back once it is quiet.
  var hasGarbage = false
  /// Devices that did not exist before `register`.
  private var created: [String] = []
  /// Since when the underlay lacks an address that this node announces, monotonic ns.
  private var addressMissingSince: Int64?
  /// The announced address is gone for good: only a new start can announce another one.
  private(set) var restartReason: String?
  /// The inputs changed since the last pass: what the next one does is not a repair.
  private var hasNewInput = true

  /// Opens the sockets and starts listening before anything is looked at, so that no change is missed.
  /// - Parameters:
  ///   - storedMACs: MACs this node published before; an existing device's own MAC wins over them.
  init(
    planner: VXLANPlanner, interface: ExternalInterface, storedMACs: PerFamily<MACAddress>,
    hasBlackholes: Bool, log: Logger
  ) throws(NetlinkError) {
    let monitor = try RouteMonitor(
      groups: [.link, .ipv4Address, .ipv6Address, .ipv4Route, .ipv6Route, .neighbour, .nexthop])
    let host = try HostNetwork()
    monitor.ignore(port: host.portID)
    self.planner = planner
    self.log = log
    interfaceName = interface.name
    baseMTU = interface.mtu
    published = interface.publicAddress
    self.hasBlackholes = hasBlackholes
    underlay = Underlay(
      name: interface.name, index: interface.index, mtu: interface.mtu, addresses: interface.address)
    macs = storedMACs
    self.monitor = monitor
    self.host = host
  }

  // MARK: registration

  /// Creates or adopts the devices and settles their MACs, which are then published with the lease (contract flanneld
  /// §12.1). Safe to repeat.
  mutating func register() throws -> PerFamily<MACAddress> {
    for family in planner.networks.families {
      let name = planner.configuration.deviceName(family)
      let existing = try host.link(name)
      if existing == nil { created.append(name) }
      if let existing, case .vxlan? = existing.kind, let mac = existing.mac {
        macs[family] = mac
      } else if macs[family] == nil {
        macs[family] = MACAddress.random()
      }
    }
    var report = PassReport()
    _ = try host.converge(devices: wantedDevices(), &report)
    tell(report)
    return macs
  }

  /// Takes back what `register` created, when the node gets no lease: nothing is left half-made.
  mutating func undoRegistration() {
    for name in created {
      do { try host.removeDevice(name) } catch { log.error("cannot remove \(name) again: \(error)") }
    }
  }

  private func wantedDevices() -> [Link] {
    var u = underlay
    u.mtu = min(underlay.mtu, baseMTU)
    return planner.devices(on: u, macs: macs)
  }

  /// Takes the acquired subnets; from now on passes are made.
  mutating func configure(own: PerFamily<IPPrefix>) {
    self.own = own
    hasNewInput = true
    isKernelDirty = true
    schedule.changed()
  }

  /// There is a new set of leases; it is fetched when the next pass begins, so that a burst costs one look.
  mutating func leasesChanged() {
    hasNewInput = true
    schedule.changed()
  }

  private mutating func take(_ snapshot: LeaseSnapshot) {
    guard snapshot.revision != revision else { return }
    revision = snapshot.revision
    leases = snapshot.leases
    var warnings: [String] = []
    peers = leases.compactMap { peer($0, &warnings) }
    leaseWarnings = warnings
  }

  /// The node that another node's lease makes known; nil for the own one, and for one that cannot be served.
  func peer(_ lease: Lease, _ warnings: inout [String]) -> Peer? {
    if lease.node.isEmpty, let own,
      planner.networks.families.contains(where: { own[$0] != nil && own[$0] == lease.subnets[$0] })
    {
      return nil
    }
    guard lease.attributes.backendType == "vxlan" else {
      warnings.append(
        "ignoring the lease \(lease.title): its back end is \"\(lease.attributes.backendType)\", expected \"vxlan\"")
      return nil
    }
    var found = PerFamily<MACAddress>()
    for family in lease.subnets.families {
      guard let data = lease.attributes.backendData[family] else { continue }
      do throws(BackendError) {
        found[family] = try VXLANData(text: data.text).mac
      } catch {
        warnings.append("unusable back-end data in the lease \(lease.title): \(error)")
      }
    }
    return Peer(
      subnets: lease.subnets, publicIPs: lease.attributes.publicIPs, macs: found, expiration: lease.expiration,
      name: lease.node, rank: lease.rank)
  }

  // MARK: the loop's side

  /// Readable when the kernel reported something.
  var descriptor: Int32 { monitor.descriptor }

  /// Takes in the kernel's notifications.
  mutating func readNotifications() {
    var concerned = false
    do throws(NetlinkError) {
      var relevance = self.relevance
      try monitor.read { event in
        if concerned { return }
        if relevance?.concerns(event) ?? true { concerned = true }
      }
      self.relevance = relevance
    } catch {
      log.warning("\(error); looking at everything again")
      concerned = true
    }
    if concerned {
      isKernelDirty = true
      schedule.changed()
    }
  }

  /// Monotonic time of the next pass; nil before `configure`.
  func deadline(now: Int64) -> Int64? { own == nil ? nil : schedule.deadline(now: now) }

  /// True when the last pass left the kernel as planned.
  var isConverged: Bool { hasConverged && lastFailures.isEmpty }
  /// Why it is not, for operators.
  var failureText: String? { lastFailures.first?.description }

  /// Makes a pass if one is due. True when there was one.
  mutating func reconcileIfDue(_ snapshot: () -> LeaseSnapshot) -> Bool {
    let began = Clock.monotonic()
    guard own != nil, schedule.isDue(now: began) else { return false }
    var report = PassReport()
    let latest = snapshot()
    do {
      if try mayBeQuick(began, latest) && quickPass(latest.leases, &report) {
        revision = latest.revision
      } else {
        take(latest)
        isKernelDirty = false
        lastLook = began
        try pass(&report)
      }
    } catch {
      report.failures.append(ApplyFailure("\(error)"))
    }
    tell(report)
    lastFailures = report.failures
    if !report.failures.isEmpty { isKernelDirty = true }
    if report.updated + report.removed > 500 || !hasConverged { hasGarbage = true }
    if report.failures.isEmpty {
      hasConverged = true
      hasNewInput = false
    }
    schedule.finished(began: began, ended: Clock.monotonic(), succeeded: report.failures.isEmpty)
    return true
  }

  /// Whether it is enough to look at the leases that have changed: nothing else has, and the kernel was as planned.
  private func mayBeQuick(_ now: Int64, _ latest: LeaseSnapshot) -> Bool {
    hasConverged && lastFailures.isEmpty && !isKernelDirty && latest.revision != revision
      && now - lastLook < schedule.resync && !planner.configuration.directRouting
  }

  private mutating func pass(_ report: inout PassReport) throws {
    guard let own else { return }
    try observeUnderlay(&report)
    let links = try host.converge(devices: wantedDevices(), &report)
    let devices = PerFamily { family in
      links.first { $0.name == planner.configuration.deviceName(family) }?.index
    }
    let ownership = Ownership(devices: Set(links.map(\.index)), networks: planner.networks.values)
    // Routes with our protocol number may be on any device: looked for when they can exist, and once at the start for
    // those of an earlier run with other options.
    var state = try host.observe(
      ownership, families: planner.networks.families,
      allRoutes: planner.configuration.directRouting || hasBlackholes || !hasConverged)
    let nexthops = try host.nexthops()
    state.nexthops = nexthops.filter { ownership.owns($0) }
    usesNexthops = !state.nexthops.isEmpty
    let context = makeContext(own, devices, foreign: Set(nexthops.lazy.filter { !ownership.owns($0) }.map(\.id)))
    self.context = context
    let plan = planner.plan(peers: peers, context)
    // From here on notifications are judged by this plan; what happens during the pass is in the monitor's queue.
    relevance = Relevance(
      plan: plan, ownership: ownership, deviceNames: Set(links.map(\.name)), underlay: interfaceName,
      watchesForeignRoutes: planner.configuration.directRouting,
      links: links.map { link in
        var l = link
        l.flags |= 1
        return l
      } + (try host.link(interfaceName).map { [$0] } ?? []))
    let changes = NetworkChanges(plan: plan, state: state)
    try host.apply(changes, up: links.filter { !$0.isUp }, &report)
    warn(plan.warnings + leaseWarnings)
  }

  private mutating func makeContext(
    _ own: PerFamily<IPPrefix>, _ devices: PerFamily<Int32>, foreign: Set<UInt32>
  ) -> VXLANPlanner.Context {
    var direct: [IPAddress: Int32] = [:]
    if planner.configuration.directRouting {
      for peer in peers {
        for ip in peer.publicIPs.values where direct[ip] == nil { direct[ip] = host.directInterface(to: ip) ?? 0 }
      }
    }
    return VXLANPlanner.Context(
      own: own, ownPublicIPs: published, ownMACs: macs, devices: devices, usesNexthops: usesNexthops,
      foreignNexthops: foreign, hasBlackholes: hasBlackholes,
      directInterface: { ip in direct[ip].flatMap { $0 == 0 ? nil : $0 } })
  }

  /// Follows the external interface when it was created again or changed (contract flanneld §19.27). While it is away
  /// or has lost its address the last known values stay, so that nothing is torn down because of a flap; that is a
  /// failure to report all the same, because no packet of a peer arrives.
  private mutating func observeUnderlay(_ report: inout PassReport) throws(NetlinkError) {
    guard let link = try host.link(interfaceName) else {
      throw NetlinkError(
        operation: "waiting for interface", object: interfaceName, errno: .noDevice, message: nil)
    }
    underlay.index = link.index
    underlay.mtu = link.mtu
    let present = try host.addresses(device: link.index).map(\.prefix.address)
    guard let lost = underlay.addresses.values.first(where: { !present.contains($0) }) else {
      addressMissingSince = nil
      return
    }
    report.failures.append(
      ApplyFailure("\(interfaceName) has lost the address \(lost), which this node announces to its peers"))
    let now = Clock.monotonic()
    let since = addressMissingSince ?? now
    addressMissingSince = since
    if now - since > Self.addressPatience,
      let other = present.first(where: { $0.family == lost.family && $0.isGlobalUnicast })
    {
      restartReason =
        "\(interfaceName) has lost the address \(lost) and has \(other) now: ending, so that the next start announces it"
    }
  }

  /// How long a lost address may take to come back, ns: a DHCP client may drop and add it.
  private static let addressPatience: Int64 = 10_000_000_000

  // MARK: telling

  private func tell(_ report: PassReport) {
    for f in report.failures where !lastFailures.contains(f) { log.error("\(f)") }
    guard report.updated + report.removed > 0 else { return }
    let more = report.updated + report.removed - report.examples.count
    let list = report.examples.joined(separator: "; ") + (more > 0 ? "; and \(more) more" : "")
    log.info("\(hasNewInput ? "Applied" : "Repaired"): \(list)")
  }

  private mutating func warn(_ texts: [String]) {
    for t in texts where !logged.contains(t) { log.warning("\(t)") }
    logged = Set(texts)
  }
}
