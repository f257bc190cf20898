import NetTypes
import Netlink
import Syscalls

// MARK: - Gateway

extension PodAttachment {
  /// Gives the bridge, or the interface of its VLAN, the gateway addresses, and switches forwarding on. Conflicts are
  /// found before anything is added. The container is configured afterwards.
  mutating func setGateways(_ plan: PodPlan) throws(CNIError) {
    guard !plan.gateways.isEmpty else { return }
    var device = bridge
    if let name = configuration.gatewayDevice {
      device = try ensureGatewayDevice(name)
      gatewayEnd = device
    }
    let families = Set(plan.gateways.map(\.family))
    let present = try doing("could not get list of IP addresses") { () throws(NetlinkError) in
      try namespaces.host.addresses(families.count == 1 ? families.first : nil, device: device.index)
    }
    let change = try GatewayPlan(
      plan.gateways, on: device.name, present: present.map(\.prefix), force: configuration.forceAddress)
    if !change.isEmpty { try apply(change, to: device) }
    if families.contains(.ipv4) { try forward("net/ipv4/ip_forward") }
    if families.contains(.ipv6) { try forward("net/ipv6/conf/all/forwarding") }
  }

  /// Adding is idempotent, because another ADD may do the same at this moment. The MAC address is set to what it is, which
  /// pins it on a bridge that was not created here.
  private mutating func apply(_ change: GatewayPlan, to device: Link) throws(CNIError) {
    var batch = RouteBatch()
    for p in change.removals { batch.remove(InterfaceAddress(device: device.index, prefix: p)) }
    for p in change.additions {
      batch.set(InterfaceAddress(device: device.index, prefix: p, broadcast: p.broadcast))
    }
    if gatewayEnd == nil, let mac = try hostLink(device.index, device.name).mac {
      batch.setLink(index: device.index, mac: mac)
    }
    try apply(batch, "failed to set bridge addr: could not add IP address to \(quoted(device.name))")
  }

  private func forward(_ key: String) throws(CNIError) {
    do throws(SystemError) {
      try Sysctl.ensure(key, "1")
    } catch {
      throw .plain("failed to enable forwarding: \(error)", .ioFailure)
    }
  }

  /// The gateway of a VLAN sits on one end of a veth pair in the host; the other end is a port of the bridge in that
  /// VLAN.
  private mutating func ensureGatewayDevice(_ name: String) throws(CNIError) -> Link {
    let what = "failed to create the gateway interface \(quoted(name))"
    var device = try hostLinkIfAny(name, what)
    for _ in 0..<10 where device == nil {
      let port = Self.randomName()
      let peer = VethPeer(name: name, namespace: -1, mac: nil, mtu: configuration.mtu)
      if let failure = try createVeth(port, peer) {
        guard failure.errno == .exists else { throw CNIError(what, failure) }
      } else {
        try configurePort(try hostLink(named: port), BridgePort(), trunk: [])
      }
      device = try hostLinkIfAny(name, what)
    }
    guard let device else { throw .plain("\(what): failed to find a unique veth name", .tryAgainLater) }
    if !device.isUp {
      var batch = RouteBatch()
      batch.setLink(index: device.index, up: true)
      try apply(batch, what)
    }
    return device
  }

  private mutating func hostLinkIfAny(_ name: String, _ what: String) throws(CNIError) -> Link? {
    try doing(what) { () throws(NetlinkError) in try namespaces.host.link(named: name) }
  }
}

// MARK: - Container

extension PodAttachment {
  /// Kernel parameters, then addresses, link state and routes in one request.
  mutating func configureContainer(_ plan: PodPlan) throws(CNIError) {
    try namespaces.inside { () throws(CNIError) in try setParameters(ipv6: plan.hasIPv6) }
    let addresses = plan.addresses(device: containerEnd.index)
    let routes = plan.kernelRoutes(device: containerEnd.index)
    var batch = RouteBatch()
    for a in addresses { batch.set(a) }
    batch.setLink(index: containerEnd.index, up: true)
    for r in routes { batch.append(r) }
    let name = quoted(request.ifname)
    let failures = try doing("failed to configure \(name)") { () throws(NetlinkError) in
      try namespaces.pod.send(batch)
    }
    if let f = failures.first {
      if f.index < addresses.count {
        throw CNIError("failed to add IP addr \(addresses[f.index].prefix) to \(name)", f)
      }
      guard f.index > addresses.count, f.index - addresses.count <= routes.count else {
        throw CNIError("failed to set \(name) UP", f)
      }
      let r = routes[f.index - addresses.count - 1]
      let via = r.gateway.map { " via \($0)" } ?? ""
      throw CNIError("failed to add route '\(r.destination)\(via) dev \(request.ifname)'", f)
    }
    if plan.hasIPv6Gateway { try settle() }
  }

  /// Called inside the container's namespace. Duplicate address detection is off unless it was asked for, because it would
  /// delay the start by seconds; the kernel announces new IPv4 addresses.
  private func setParameters(ipv6: Bool) throws(CNIError) {
    let ifname = request.ifname
    if configuration.enableDAD {
      try? Sysctl.write("net/ipv6/conf/\(ifname)/enhanced_dad", "1")
      try? Sysctl.write("net/ipv6/conf/\(ifname)/accept_dad", "1")
    } else {
      try? Sysctl.write("net/ipv6/conf/\(ifname)/accept_dad", "0")
    }
    try? Sysctl.write("net/ipv4/conf/\(ifname)/arp_notify", "1")
    guard ipv6 else { return }
    for device in ["lo", ifname] {
      let key = "net/ipv6/conf/\(device)/disable_ipv6"
      guard let value = try? Sysctl.read(key), value != "0" else { continue }
      do throws(SystemError) {
        try Sysctl.write(key, "0")
      } catch {
        throw .plain("failed to enable IPv6 for interface \(quoted(device)) (\(key)=\(value)): \(error)", .ioFailure)
      }
    }
    do throws(SystemError) {
      try Sysctl.write("net/ipv6/conf/\(ifname)/keep_addr_on_down", "1")
    } catch {
      throw .plain("failed to set keep_addr_on_down of \(quoted(ifname)): \(error)", .ioFailure)
    }
  }

  /// Waits until no IPv6 address is tentative, at most five seconds. The first look usually suffices.
  private mutating func settle() throws(CNIError) {
    let what = "failed to settle addresses for \(quoted(request.ifname))"
    var wait = Backoff(limit: 5_000_000_000)
    while true {
      let all = try doing(what) { () throws(NetlinkError) in
        try namespaces.pod.addresses(.ipv6, device: containerEnd.index)
      }
      if let taken = all.first(where: \.isDuplicate) {
        throw .plain("\(what): \(taken.prefix) is used by another machine")
      }
      guard all.contains(where: \.isTentative) else { return }
      guard wait.next() else { throw .plain("\(what): addresses still tentative after 5 s") }
    }
  }

  /// Layer 2 only: the interface goes up without addresses.
  mutating func bringContainerUp() throws(CNIError) {
    var batch = RouteBatch()
    batch.setLink(index: containerEnd.index, up: true)
    let what = "failed to set \(quoted(request.ifname)) UP"
    let failures = try doing(what) { () throws(NetlinkError) in try namespaces.pod.send(batch) }
    if let f = failures.first { throw CNIError(what, f) }
  }

  /// Waits until the kernel has noticed that both ends are up and forwards frames, at most 2.55 s.
  mutating func awaitPort() throws(CNIError) {
    var wait = Backoff(limit: 2_550_000_000)
    while true {
      hostEnd = try hostLink(hostEnd.index, hostEnd.name)
      if hostEnd.operationalState == 6 { return }
      guard wait.next() else {
        throw .plain("bridge port in error state: \(Self.stateName(hostEnd.operationalState))", .tryAgainLater)
      }
    }
  }

  /// RFC 2863 states as the kernel numbers them.
  private static func stateName(_ state: UInt8) -> String {
    let names = ["unknown", "not-present", "down", "lower-layer-down", "testing", "dormant", "up"]
    return Int(state) < names.count ? names[Int(state)] : "\(state)"
  }
}

/// Waiting for the kernel: 1 ms, 2 ms, … at most 50 ms between two looks, until a limit.
struct Backoff {
  private let end: Int64
  private var step: Int64 = 1_000_000

  /// - Parameter limit: nanoseconds in total.
  init(limit: Int64) { end = Clock.monotonic() + limit }

  /// Sleeps; false when the time is over.
  mutating func next() -> Bool {
    let left = end - Clock.monotonic()
    guard left > 0 else { return false }
    Clock.sleep(nanoseconds: min(step, left))
    step = min(step * 2, 50_000_000)
    return true
  }
}
