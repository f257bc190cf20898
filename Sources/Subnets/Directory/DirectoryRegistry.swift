import CLinux
import Glibc
import NetTypes
import Syscalls

/// A registry in a directory that all agents of one machine share; the same data as the Go daemon's etcd registry.
///
///     DIR/config           the network configuration, as etcd's <prefix>/config
///     DIR/subnets/<key>    one file per lease, named and filled as etcd's <prefix>/subnets/<key>
///     DIR/lock             held (flock) while leases are changed
///     DIR/.tmp             files being written
///
/// * A lease ends 24 h after the file's modification time; renewing sets that time.
/// * A file that its owner may not write (`chmod a-w`) is a reservation, like an etcd key without lease: it never
///   expires, is never removed, and is used by the node whose public address it holds. To make one, write
///   `{"PublicIP":"192.168.0.2","PublicIPv6":null}` to `DIR/subnets/10.244.7.0-24` and take the write permission away.
/// * A file whose name is a key but whose content is not a lease keeps its subnet out of use. Other names are ignored.
/// * Files appear and change by rename only, so that a reader never sees half of one and a killed agent leaves at most
///   a file in `DIR/.tmp`, which the next agent removes after an hour.
public struct DirectoryRegistry {
  /// The directory, without a trailing slash.
  public let path: String
  /// How long to wait for the lock, in seconds.
  public var lockTimeout = 10
  /// Receives what an operator should know and nobody else reports.
  let warn: (String) -> Void

  /// Touches nothing yet.
  /// - Parameters:
  ///   - path: need not exist; slashes at its end do not count.
  ///   - warn: receives what an operator should know and nobody else reports.
  public init(path: String, warn: @escaping (String) -> Void) {
    self.path = Self.normalized(path)
    self.warn = warn
  }

  static func normalized(_ path: String) -> String {
    var p = path
    while p.utf8.count > 1, p.hasSuffix("/") { p.removeLast() }
    return p
  }

  var subnetsPath: String { "\(path)/subnets" }
  private var temporaryPath: String { "\(path)/.tmp" }
  private var lockPath: String { "\(path)/lock" }

  /// Reads and checks `DIR/config` (contract flanneld §2.2).
  public func configuration() throws(RegistryError) -> NetworkConfiguration {
    let file = "\(path)/config"
    let bytes: [UInt8]
    do { bytes = try Files.read(file, limit: 1 << 20) } catch {
      throw error.errno == .noEntry ? .configurationMissing(path: file) : .system(error)
    }
    do {
      let out = try NetworkConfiguration(parsing: bytes)
      try out.validate(pools: true)
      return out
    } catch { throw .configuration(path: file, error) }
  }

  /// Gets this node's lease: its present one if it still fits, a reservation, the previous subnet, or any free one
  /// (contract flanneld §7.2). The lease is written before this returns.
  /// - Parameters:
  ///   - attributes: what to publish; the public address of the first enabled family identifies the node.
  ///   - previous: subnets of an earlier run, from `SubnetFile.previousSubnets`.
  ///   - watcher: has read the directory already; saves a second look when nothing changed since.
  public func acquire(
    _ attributes: LeaseAttributes, configuration: NetworkConfiguration, previous: PerFamily<IPPrefix> = PerFamily(),
    watcher: DirectoryWatcher? = nil
  ) throws(RegistryError) -> Lease {
    defer { watcher?.forgetScan() }
    let selection = try LeaseSelection(attributes, configuration, previous)
    try system { () throws(SystemError) in try Files.makeDirectory(subnetsPath) }
    return try locked { () throws(RegistryError) in
      for _ in 0..<10 {
        let choice = try selection.choose(among: try entries(knownTo: watcher), now: Clock.realtime())
        for warning in choice.warnings { warn("\(subnetsPath)/\(warning)") }
        for name in choice.removed { try remove(name) }
        if let lease = try write(choice, attributes) { return lease }
      }
      throw .retriesExhausted
    }
  }

  /// Makes the lease last another 24 h, and its file hold `lease.attributes`.
  /// - Throws: `leaseLost` when the file is gone or belongs to another node now.
  public func renew(_ lease: Lease) throws(RegistryError) -> Lease {
    guard Files.exists(subnetsPath) else {
      throw .leaseLost(lease.key, reason: "\(subnetsPath) does not exist")
    }
    return try locked { () throws(RegistryError) in
      guard let entry = try entry(lease.key) else { throw .leaseLost(lease.key, reason: "its file was removed") }
      guard let found = entry.lease else {
        throw .leaseLost(lease.key, reason: "its file does not hold a lease any more")
      }
      guard found.attributes.isSameNode(as: lease.attributes) else {
        throw .leaseLost(lease.key, reason: "it belongs to \(found.attributes.address) now")
      }
      guard let renewed = try refresh(entry, lease.attributes) else {
        throw .leaseLost(lease.key, reason: "its file was removed")
      }
      return renewed
    }
  }

  /// All valid leases now, for programs that look once.
  public func snapshot() throws(RegistryError) -> LeaseSnapshot {
    guard Files.exists(subnetsPath) else { return LeaseSnapshot() }
    let now = Clock.realtime()
    return LeaseSnapshot(try entries().compactMap { $0.isExpired(at: now) ? nil : $0.lease })
  }
}

// MARK: - Files

extension DirectoryRegistry {
  private func system<R: ~Copyable>(_ body: () throws(SystemError) -> R) throws(RegistryError) -> R {
    do { return try body() } catch { throw .system(error) }
  }

  /// Runs with the lock held and `.tmp` present.
  private func locked<R>(_ body: () throws(RegistryError) -> R) throws(RegistryError) -> R {
    try system { () throws(SystemError) in try Files.makeDirectory(temporaryPath) }
    let lock = try takeLock()
    // The lock lasts as long as the descriptor.
    defer { _ = lock.number }
    removeLeftovers()
    return try body()
  }

  /// Waits for the lock. Polled, so that an agent waiting behind a stopped process says so instead of hanging.
  private func takeLock() throws(RegistryError) -> FileDescriptor {
    let end = Clock.monotonic() + Int64(lockTimeout) * 1_000_000_000
    while true {
      if let file = try system(tryLock) { return file }
      guard Clock.monotonic() < end else { throw .locked(path: lockPath, seconds: lockTimeout) }
      Clock.sleep(nanoseconds: Int64.random(in: 1_000_000...8_000_000))
    }
  }

  /// The locked file; nil when it is locked by another, or is no longer the one that others would lock.
  private func tryLock() throws(SystemError) -> FileDescriptor? {
    // Read-only: closing a file that is open for writing would wake everybody who watches the directory.
    let file = try FileDescriptor.open(lockPath, O_RDONLY | O_CREAT, mode: 0o600)
    guard try file.tryLock(object: lockPath) else { return nil }
    let held = try file.status(object: lockPath)
    guard let present = try? Files.status(lockPath), present.inode == held.inode, present.device == held.device else {
      return nil
    }
    return file
  }

  private func remove(_ name: String) throws(RegistryError) {
    try system { () throws(SystemError) in _ = try Files.remove("\(subnetsPath)/\(name)") }
  }

  private func entries(knownTo watcher: DirectoryWatcher? = nil) throws(RegistryError) -> [LeaseFiles.Entry] {
    if let watcher {
      do throws(SystemError) {
        if let known = try watcher.currentEntries() { return known }
      } catch { throw .system(error) }
    }
    return try system { () throws(SystemError) in
      var files = try LeaseFiles(path: subnetsPath)
      var out: [LeaseFiles.Entry] = []
      for name in try files.names() {
        if let key = LeaseKey(name), let entry = try files.read(name, key) { out.append(entry) }
      }
      return out
    }
  }

  private func entry(_ key: LeaseKey) throws(RegistryError) -> LeaseFiles.Entry? {
    try system { () throws(SystemError) in
      var files = try LeaseFiles(path: subnetsPath)
      return try files.read(key.description, key)
    }
  }

  /// Writes what was chosen; nil when somebody else made or removed the file meanwhile.
  private func write(
    _ choice: LeaseSelection.Choice, _ attributes: LeaseAttributes
  ) throws(RegistryError) -> Lease? {
    if let kept = choice.kept { return try refresh(kept, attributes) }
    let name = LeaseKey(choice.subnets).description
    do {
      try publish(attributes, as: name, mode: 0o644, exclusive: true)
    } catch  where error.errno == .exists {
      return nil
    } catch { throw .system(error) }
    return try entry(LeaseKey(choice.subnets))?.lease
  }

  /// Gives a file of ours new life: its time if the content is right already, else the content. A reservation keeps its
  /// mode.
  private func refresh(_ entry: LeaseFiles.Entry, _ attributes: LeaseAttributes) throws(RegistryError) -> Lease? {
    if entry.lease?.attributes != attributes {
      try system { () throws(SystemError) in
        try publish(attributes, as: entry.name, mode: entry.mode, exclusive: false)
      }
    } else if entry.expiration != nil {
      let file = "\(subnetsPath)/\(entry.name)"
      let touched = unsafe utimensat(AT_FDCWD, file, nil, 0)
      if touched != 0 {
        if Errno.current == .noEntry { return nil }
        throw .system(SystemError("touch", file))
      }
    }
    return try self.entry(entry.key)?.lease
  }

  /// Writes a lease file elsewhere and moves it into place.
  private func publish(
    _ attributes: LeaseAttributes, as name: String, mode: mode_t, exclusive: Bool
  ) throws(SystemError) {
    let target = "\(subnetsPath)/\(name)"
    let temporary = "\(temporaryPath)/\(name).\(getpid())-\(String(UInt64.random(in: 0 ... .max), radix: 36))"
    let file = try FileDescriptor.open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
    do {
      try file.write(attributes.json, object: temporary)
      try retrying("chmod", temporary) { fchmod(file.number, mode) }
      try file.sync(object: temporary)
      try move(temporary, to: target, exclusive: exclusive)
    } catch {
      _ = unsafe unlink(temporary)
      throw error
    }
    try Files.syncDirectory(subnetsPath)
  }

  private func move(_ from: String, to target: String, exclusive: Bool) throws(SystemError) {
    guard exclusive else {
      try retrying("rename", target) { unsafe rename(from, target) }
      return
    }
    let noReplace: UInt32 = 1  // RENAME_NOREPLACE
    if unsafe clinux_renameat2(AT_FDCWD, from, AT_FDCWD, target, noReplace) == 0 { return }
    // Not every file system knows the flag.
    guard Errno.current == .invalid else { throw SystemError("create", target) }
    try retrying("create", target) { unsafe link(from, target) }
    _ = unsafe unlink(from)
  }

  /// Removes what killed agents left in `.tmp`, once it is an hour old.
  private func removeLeftovers() {
    let old = Clock.realtime() - 3600 * 1_000_000_000
    for name in (try? Files.list(temporaryPath)) ?? [] {
      let file = "\(temporaryPath)/\(name)"
      if let status = try? Files.linkStatus(file), status.isRegular, status.modified < old {
        _ = try? Files.remove(file)
      }
    }
  }
}
