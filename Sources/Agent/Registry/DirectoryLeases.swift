import Backends
import Logging
import NetTypes
import Subnets
import Syscalls

/// The registry in a directory (`--registry-dir`): leases last a day and are renewed.
final class DirectoryLeases: LeaseRegistry {
  private let registry: DirectoryRegistry
  private let options: AgentOptions
  private let log: Logger
  private var watcher: DirectoryWatcher?
  private var lease: Lease?
  private var renewalRetry: Int64?

  /// Time between looks at the whole registry, ns: a safety net behind the notifications.
  private static let rescan: Int64 = 300_000_000_000

  init(_ options: AgentOptions, _ log: Logger) {
    self.options = options
    self.log = log
    registry = DirectoryRegistry(path: options.registryDirectory) { log.warning("\($0)") }
    log.info("Created subnet manager: Directory \(registry.path)")
  }

  func configuration() throws(RegistryError) -> NetworkConfiguration { try registry.configuration() }

  func prepare(_ configuration: NetworkConfiguration, _ loop: inout AgentLoop) throws(AgentFailure) -> PerFamily<
    String
  >? {
    // The watcher listens before the first look, so that no lease is missed.
    let log = log
    do { watcher = try DirectoryWatcher(path: registry.path) { log.warning("\($0)") } } catch {
      throw AgentFailure("cannot register the network: \(error)")
    }
    return PerFamily()
  }

  var snapshot: LeaseSnapshot { watcher?.snapshot ?? LeaseSnapshot() }

  func publishedMACs(_ node: AgentNode) -> PerFamily<MACAddress> {
    let own = snapshot.leases.first { lease in
      node.configuration.enabledFamilies.contains {
        let ip = node.interface.publicAddress[$0]
        return ip != nil && lease.attributes.publicIPs[$0] == ip
      }
    }
    return PerFamily { own?.attributes.vxlanMAC($0) }
  }

  func acquire(
    _ attributes: LeaseAttributes, _ node: AgentNode, _ loop: inout AgentLoop
  ) throws(AgentFailure) -> Lease? {
    let previous = SubnetFile.previousSubnets(at: options.subnetFile) { log.warning("\($0)") }
    do {
      lease = try registry.acquire(
        attributes, configuration: node.configuration, previous: previous, watcher: watcher)
    } catch {
      throw AgentFailure("cannot register the network: \(error)")
    }
    return lease
  }

  func attach(to loop: inout AgentLoop) {
    read()
    if let watcher { loop.watch(watcher.descriptor, as: .registry) }
    loop.schedule(.resync, after: Self.rescan)
    scheduleRenewal(&loop)
  }

  func handle(_ event: AgentLoop.Event, _ loop: inout AgentLoop) -> Bool {
    switch event {
    case .ready(.registry): return read()
    case .due(.resync):
      loop.schedule(.resync, after: Self.rescan)
      return read(everything: true)
    case .due(.renewal):
      renew()
      return false
    case .due(.expiry): return watcher?.expire() ?? false
    default: return false
    }
  }

  func tend(_ loop: inout AgentLoop) throws(AgentFailure) -> Bool {
    guard ownsLease() else { return false }
    scheduleRenewal(&loop)
    return true
  }

  func applied(_ loop: inout AgentLoop) {
    // Looked at again with each pass, and every hour: leases are renewed meanwhile and the wall clock may jump.
    let wait = (watcher?.nextExpiration ?? .max).subtractingReportingOverflow(Clock.realtime())
    loop.schedule(.expiry, after: min(wait.overflow ? .max : wait.partialValue, 3_600_000_000_000) + 1_000_000)
  }

  func networkIsUp(_ loop: inout AgentLoop) {}

  @discardableResult
  private func read(everything: Bool = false) -> Bool {
    guard let watcher else { return false }
    do {
      return try everything ? watcher.rescan() : watcher.read()
    } catch {
      log.error("cannot read the registry, going on with what is known: \(error)")
      return false
    }
  }

  // MARK: the own lease

  /// The registry, without waiting for its lock: the loop has other things to do meanwhile.
  private var impatient: DirectoryRegistry {
    var r = registry
    r.lockTimeout = 0
    return r
  }

  /// False when the lease was removed or given to another node. A lease that merely ended, on a machine that slept, is
  /// renewed.
  private func ownsLease() -> Bool {
    guard let lease else { return true }
    if let seen = snapshot[lease.key], seen.attributes.publicIPs == lease.attributes.publicIPs { return true }
    do {
      self.lease = try impatient.renew(lease)
      return true
    } catch .leaseLost(_, let reason) {
      log.warning("the lease \(lease.key) is gone: \(reason)")
      return false
    } catch .locked {
      renewalRetry = Clock.monotonic() &+ 1_000_000_000
      return true
    } catch {
      log.error("cannot check the lease: \(error)")
      return true
    }
  }

  private func renew() {
    guard let lease else { return }
    do {
      self.lease = try impatient.renew(lease)
      log.info("Lease renewed: \(lease.key)")
    } catch .locked {
      renewalRetry = Clock.monotonic() &+ 1_000_000_000
    } catch {
      // Tried again a minute later; a lost lease is found by `ownsLease`.
      log.error("cannot renew the lease \(lease.key): \(error)")
      renewalRetry = Clock.monotonic() &+ 60_000_000_000
    }
  }

  private func scheduleRenewal(_ loop: inout AgentLoop) {
    if let retry = renewalRetry {
      renewalRetry = nil
      loop.schedule(.renewal, at: retry)
      return
    }
    guard loop.deadline(of: .renewal) == nil, let expiration = lease?.expiration else { return }
    let margin = Int64(options.subnetLeaseRenewMargin) * 60_000_000_000
    // Looked at once an hour at least: the wall clock may jump.
    let wait = max(1_000_000_000, expiration - margin - Clock.realtime())
    if wait > 3_600_000_000_000 { return }
    loop.schedule(.renewal, after: wait)
  }
}

extension LeaseAttributes {
  /// The MAC in a family's vxlan data, if that is what it is.
  func vxlanMAC(_ family: AddressFamily) -> MACAddress? {
    backendData[family].flatMap { try? VXLANData(text: $0.text).mac }
  }
}
