import NetTypes
import Netlink
import Syscalls

// MARK: - Bridge

extension PodAttachment {
  /// Creates the bridge if there is none and brings it into the state asked for. Another ADD may create it at the same
  /// moment: then theirs is used.
  mutating func ensureBridge() throws(CNIError) {
    let name = configuration.bridge
    do throws(CNIError) {
      var created = false
      if let there = try lookUpBridge() {
        bridge = there
      } else {
        created = try createBridge()
        guard let now = try lookUpBridge() else { throw .plain("\(quoted(name)) was deleted meanwhile", .ioFailure) }
        bridge = now
      }
      // The routes of this interface are ours; a kernel without IPv6 has no such key.
      try? Sysctl.write("net/ipv6/conf/\(name)/accept_ra", "0")
      let promiscuous = configuration.promiscMode && !bridge.isPromiscuous
      guard created || promiscuous || !bridge.isUp else { return }
      var batch = RouteBatch()
      batch.setLink(index: bridge.index, up: true, promiscuous: promiscuous ? true : nil)
      try apply(batch, "could not set \(quoted(name)) up")
    } catch {
      throw error.prefixed("failed to create bridge \(quoted(name)): ")
    }
  }

  private mutating func lookUpBridge() throws(CNIError) -> Link? {
    let name = configuration.bridge
    let link = try doing("could not lookup \(quoted(name))") { () throws(NetlinkError) in
      try namespaces.host.link(named: name)
    }
    if let link {
      guard case .bridge = link.kind else { throw .plain("\(quoted(name)) already exists but is not a bridge") }
    }
    return link
  }

  /// False when somebody else was faster. The bridge gets a MAC address of its own, so that ports coming and going never
  /// change it.
  private mutating func createBridge() throws(CNIError) -> Bool {
    let name = configuration.bridge
    var batch = RouteBatch()
    batch.createLink(
      Link(
        name: name, kind: .bridge(vlanFiltering: configuration.needsVLANFiltering ? true : nil),
        mac: .random(), mtu: configuration.mtu))
    let failures = try doing("could not add \(quoted(name))") { () throws(NetlinkError) in
      try namespaces.host.send(batch)
    }
    guard let f = failures.first else { return true }
    if f.errno == .exists { return false }
    throw CNIError("could not add \(quoted(name))", f)
  }

  /// Sends messages to the host's side; the first refusal is the error.
  mutating func apply(_ batch: borrowing RouteBatch, _ what: @autoclosure () -> String) throws(CNIError) {
    let failures = try doing(what()) { () throws(NetlinkError) in try namespaces.host.send(batch) }
    if let f = failures.first { throw CNIError(what(), f) }
  }
}

// MARK: - Veth pair

extension PodAttachment {
  /// Creates the pair with one request: the container's end with its final name inside the container, the host's end up
  /// and in the bridge.
  mutating func createPair() throws(CNIError) {
    var repaired = false
    for _ in 0..<10 {
      let name = Self.randomName()
      let peer = VethPeer(
        name: request.ifname, namespace: namespaces.container.descriptor, mac: configuration.mac,
        mtu: configuration.mtu)
      guard let failure = try createVeth(name, peer) else {
        hostEnd = try hostLink(named: name)
        return try lookUpContainerEnd()
      }
      guard failure.errno == .exists else { throw CNIError("failed to make veth pair", failure) }
      guard let there = try containerLink() else { continue }  // the name on the host is taken
      guard !repaired, try removeHalfMade(there) else {
        throw .plain("container veth name (\(quoted(request.ifname))) peer provided (\(quoted(name))) already exists")
      }
      repaired = true
    }
    throw .plain("failed to find a unique veth name", .tryAgainLater)
  }

  /// `veth` and eight hexadecimal digits.
  static func randomName() -> String {
    let hex = String(UInt32.random(in: 0 ... .max), radix: 16)
    return "veth" + String(repeating: "0", count: 8 - hex.utf8.count) + hex
  }

  /// Creates a veth pair whose first end hangs on the bridge; the refusal of the kernel, if any.
  mutating func createVeth(_ name: String, _ peer: VethPeer) throws(CNIError) -> RouteBatch.Failure? {
    var batch = RouteBatch()
    batch.createLink(
      Link(name: name, kind: .veth, mtu: configuration.mtu, master: bridge.index), up: true, peer: peer)
    return try doing("failed to make veth pair") { () throws(NetlinkError) in try namespaces.host.send(batch) }.first
  }

  mutating func hostLink(named name: String) throws(CNIError) -> Link {
    let link = try doing("could not lookup \(quoted(name))") { () throws(NetlinkError) in
      try namespaces.host.link(named: name)
    }
    guard let link else { throw .plain("could not lookup \(quoted(name)): it was deleted meanwhile", .ioFailure) }
    return link
  }

  private mutating func containerLink() throws(CNIError) -> Link? {
    try doing("could not lookup \(quoted(request.ifname))") { () throws(NetlinkError) in
      try namespaces.pod.link(named: request.ifname)
    }
  }

  mutating func lookUpContainerEnd() throws(CNIError) {
    guard let link = try containerLink() else {
      throw .plain("could not lookup \(quoted(request.ifname)): it was deleted meanwhile", .ioFailure)
    }
    containerEnd = link
  }

  /// Removes what an ADD of ours left that was cut off, with its reservation. False when the interface is not such a
  /// remainder.
  private mutating func removeHalfMade(_ there: Link) throws(CNIError) -> Bool {
    guard try isHalfMade(there) else { return false }
    request.log("bridge: removing the remains of an interrupted ADD: \(request.ifname) in \(request.netns)")
    try deleteOnHost(there.parent)
    if configuration.hasIPAM {
      try request.delegate(configuration.ipamType, .del, request.ownConfiguration)
    }
    return true
  }

  /// The work of an ADD that was killed before its end (contract cni §C 24): a veth whose other end is a port of our
  /// bridge, and the last step of ADD has not happened. That step gives the interface its addresses, or, without IPAM,
  /// brings it up; an interface that is to stay down shows no last step and is never half-made.
  private mutating func isHalfMade(_ there: Link) throws(CNIError) -> Bool {
    guard there.kind == .veth, there.parent != 0, !configuration.disableContainerInterface else { return false }
    let what = "failed to examine \(quoted(there.name))"
    let other = try doing(what) { () throws(NetlinkError) in try namespaces.host.link(index: there.parent) }
    guard let other, other.kind == .veth, other.parent == there.index, other.master == bridge.index,
      let number = other.parentNamespace
    else { return false }
    let container = try doing(what) { () throws(NetlinkError) in try namespaces.containerNumber() }
    guard container == number else { return false }
    guard configuration.hasIPAM else { return !there.isUp }
    return try doing(what) { () throws(NetlinkError) in
      try !namespaces.pod.addresses(device: there.index).contains { $0.scope == 0 }
    }
  }
}

// MARK: - Bridge port

extension PodAttachment {
  /// Options and VLANs of a port that was just created.
  mutating func configurePort(_ port: Link, _ options: BridgePort, trunk: [ClosedRange<UInt16>]) throws(CNIError) {
    // The routes of this interface are ours; a kernel without IPv6 has no such key.
    try? Sysctl.write("net/ipv6/conf/\(port.name)/accept_ra", "0")
    var batch = RouteBatch()
    if options != BridgePort() { batch.setBridgePort(index: port.index, options) }
    if configuration.needsVLANFiltering {
      let what = "failed to setup vlan on \(quoted(port.name))"
      if !configuration.preserveDefaultVLAN {
        let present = try doing(what) { () throws(NetlinkError) in
          try namespaces.host.bridgeVLANs(device: port.index)
        }
        if !present.isEmpty { batch.removeBridgeVLANs(index: port.index, present) }
      }
      batch.addBridgeVLANs(index: port.index, configuration.portVLANs(trunk: trunk))
    }
    guard batch.count > 0 else { return }
    let master = bridge.name
    try apply(batch, "failed to set up \(quoted(port.name)) as a port of \(quoted(master))")
  }
}

extension BridgeConfiguration {
  /// The VLANs of a port: `vlan` for untagged frames, the trunk's tagged. A trunk without `vlan` takes untagged frames
  /// into VLAN 1.
  func portVLANs(trunk: [ClosedRange<UInt16>]) -> [BridgeVLAN] {
    let untagged: UInt16 = vlan != 0 ? vlan : 1
    var out = trunk.map { BridgeVLAN(ids: $0) }
    out.append(BridgeVLAN(ids: untagged...untagged, isPVID: true, isUntagged: true))
    return out
  }
}
