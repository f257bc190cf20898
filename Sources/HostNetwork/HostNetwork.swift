import CLinux
public import NetTypes
public import Netlink
import Syscalls

/// A step of a pass that failed; the others were carried out.
public struct ApplyFailure: Hashable, Sendable, CustomStringConvertible {
  /// Operation, object, the kernel's answer.
  public var description: String
  /// - Parameter description: operation, object, the kernel's answer, in one line.
  public init(_ description: String) { self.description = description }
}

/// What a pass did.
public struct PassReport: Sendable {
  /// Objects created or replaced.
  public var updated = 0
  /// Objects that were to be removed, whether or not they were still there.
  public var removed = 0
  /// The first few changes in words, for the log.
  public var examples: [String] = []
  /// What could not be done; retried by the loop.
  public var failures: [ApplyFailure] = []

  /// A pass that has done nothing yet.
  public init() {}
  /// True when the kernel was already as planned.
  public var isEmpty: Bool { updated == 0 && removed == 0 && failures.isEmpty }

  mutating func note(_ text: @autoclosure () -> String) { if examples.count < 5 { examples.append(text()) } }
}

/// The kernel's links, addresses, neighbours, forwarding entries and routes of one network namespace: observed,
/// compared with a plan and changed. One thread, one request socket.
public struct HostNetwork: ~Copyable {
  private var socket: RouteSocket

  /// Works in the namespace of the calling thread.
  public init() throws(NetlinkError) { socket = try RouteSocket() }

  /// Works in another namespace. (Sysctls are those of the calling thread's namespace.)
  public init(in namespace: borrowing NetworkNamespace) throws(NetlinkError) {
    socket = try RouteSocket(in: namespace)
  }

  /// Port of our requests, as notifications about their effects carry it.
  public var portID: UInt32 { socket.portID }

  /// A link by name; nil when there is none.
  public mutating func link(_ name: String) throws(NetlinkError) -> Link? { try socket.link(named: name) }

  /// The addresses of an interface.
  public mutating func addresses(device: Int32) throws(NetlinkError) -> [InterfaceAddress] {
    try socket.addresses(device: device)
  }

  /// Removes a device; gone is fine.
  public mutating func removeDevice(_ name: String) throws(NetlinkError) {
    guard let link = try socket.link(named: name) else { return }
    var batch = RouteBatch()
    batch.deleteLink(index: link.index)
    try socket.apply(batch)
  }

  /// The interface through which an address is reached without a gateway, or nil (contract flanneld §12.2.1).
  public mutating func directInterface(to address: IPAddress) -> Int32? {
    guard let r = try? socket.route(to: address), r.gateway == nil, r.extraHops == 0, r.kind == .unicast else {
      return nil
    }
    return r.device
  }

  // MARK: devices

  /// Makes the devices exist with the wanted options, without bringing them up. Returns them as they are now, or
  /// throws on the first that cannot be had.
  public mutating func converge(devices: [Link], _ report: inout PassReport) throws(NetlinkError) -> [Link] {
    var result: [Link] = []
    for desired in devices {
      let observed = try socket.link(named: desired.name)
      switch DeviceDecision(desired: desired, observed: observed) {
      case .keep: break
      case .conflict(let text):
        throw NetlinkError(operation: text, object: "", errno: .exists, message: nil)
      case .create: try create(desired, &report)
      case .recreate(let reason):
        report.note("\(desired.name) is created again: \(reason)")
        var batch = RouteBatch()
        batch.deleteLink(index: observed?.index ?? 0)
        try socket.apply(batch)
        try create(desired, &report)
      case .adjust(let mtu, let mac):
        var batch = RouteBatch()
        batch.setLink(index: observed?.index ?? 0, mtu: mtu, mac: mac)
        try socket.apply(batch)
        report.updated += 1
        if let mtu { report.note("MTU of \(desired.name) set to \(mtu) (was \(observed?.mtu ?? 0))") }
        if let mac { report.note("MAC of \(desired.name) set to \(mac) (was \(observed?.mac?.description ?? "none"))") }
      }
      guard let now = try socket.link(named: desired.name) else {
        throw NetlinkError(operation: "create link", object: desired.name, errno: .noDevice, message: nil)
      }
      if let wanted = desired.mac, let got = now.mac, wanted != got {
        throw NetlinkError(
          operation: "\(desired.name)'s mac address wanted: \(wanted), but got: \(got) — "
            + "set MACAddressPolicy=none for it in systemd-udevd", object: "", errno: .busy, message: nil)
      }
      // Contract flanneld §12.1, §17: failure is ignored (a kernel without IPv6 has no such file).
      _ = try? Sysctl.ensure("net/ipv6/conf/\(desired.name)/accept_ra", "0")
      result.append(now)
    }
    return result
  }

  private mutating func create(_ desired: Link, _ report: inout PassReport) throws(NetlinkError) {
    var batch = RouteBatch()
    batch.createLink(desired)
    try socket.apply(batch)
    report.updated += 1
    report.note("created \(desired.name)")
  }

  // MARK: addresses, neighbours, forwarding, routes

  /// What is there of ours, without next-hop objects.
  /// - Parameter allRoutes: look at the whole main table, not only at the routes of our devices.
  public mutating func observe(
    _ ownership: Ownership, families: [AddressFamily], allRoutes: Bool
  ) throws(NetlinkError) -> NetworkState {
    var state = NetworkState()
    for device in ownership.devices.sorted() {
      state.addresses += try socket.addresses(device: device).filter { ownership.owns($0) }
      state.fdb += try socket.fdb(device: device).filter { ownership.owns($0) }
    }
    for family in families {
      for device in ownership.devices.sorted() {
        state.neighbours += try socket.neighbours(family, device: device).filter { ownership.owns($0) }
      }
      for device in allRoutes ? [0] : ownership.devices.sorted() {
        for r in try socket.routes(family, device: device) where ownership.owns(r) { state.routes.append(r.comparable) }
      }
    }
    return state
  }

  /// All next-hop objects of the namespace; none on a kernel without them.
  public mutating func nexthops() throws(NetlinkError) -> [Nexthop] {
    do { return try socket.nexthops() } catch  where error.errno == .notSupported { return [] }
  }

  /// Applies changes in the order addresses → devices up → neighbours → forwarding → next hops → routes, removals in
  /// reverse (but stale addresses before routes), all in one batch. An object that cannot be set does not hold up the others.
  public mutating func apply(
    _ changes: NetworkChanges, up: [Link], _ report: inout PassReport
  ) throws(NetlinkError) {
    var batch = RouteBatch()
    for u in changes.addresses.updates { batch.set(u.new) }
    // Stale own addresses go before the routes: a peer's gateway may be one of them, and the kernel refuses a local
    // gateway. They go after the new ones: with its last address a device loses all its routes.
    let stale = batch.count..<batch.count + changes.addresses.removals.count
    for r in changes.addresses.removals { batch.remove(r) }
    for l in up { batch.setLink(index: l.index, up: true) }
    for u in changes.neighbours.updates { batch.set(u.new) }
    for u in changes.fdb.updates { batch.set(u.new) }
    for u in changes.nexthops.updates { batch.set(u.new) }
    for u in changes.routes.updates { batch.set(u.new) }
    let removals = batch.count
    for r in changes.routes.removals { batch.remove(r) }
    for r in changes.nexthops.removals { batch.removeNexthop(id: r.id) }
    for r in changes.fdb.removals { batch.remove(r) }
    for r in changes.neighbours.removals { batch.remove(r) }
    guard batch.count > 0 else { return }
    report.updated += removals - stale.count
    report.removed += batch.count - removals + stale.count
    for f in try socket.send(batch) {
      // Deleting what is gone is no error.
      let isRemoval = f.index >= removals || stale.contains(f.index)
      if isRemoval, Self.isGone(f.errno) { continue }
      if isRemoval { report.removed -= 1 } else { report.updated -= 1 }
      if report.failures.count < 20 {
        report.failures.append(ApplyFailure("\(batch.error(f))"))
      }
    }
    var index = 0
    while report.examples.count < 5, index < batch.count {
      report.note(batch.label(of: index))
      index += 1
    }
  }

  private static func isGone(_ e: Errno) -> Bool {
    e == .noEntry || e == .noProcess || e == .noDevice || e == .noAddress
  }
}
