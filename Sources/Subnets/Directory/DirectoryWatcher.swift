import NetTypes
import Syscalls

/// Follows the leases and the configuration of a `DirectoryRegistry` in memory. Use from one thread.
///
/// Wait for `descriptor` with poll(2), then call `read`. Call `expire` at `nextExpiration`, and `rescan` now and then as
/// a safety net and after an error. The directory may be missing, or be removed and made again.
public final class DirectoryWatcher {
  private let path: String
  private let warn: (String) -> Void
  private let inotify: Inotify
  private var events = [UInt8](repeating: 0, count: 1 << 16)
  /// Numbers of the watches on the parent (only while DIR is missing), on DIR and on DIR/subnets.
  private var parent: Int32?
  private var base: Int32?
  private var subnets: Int32?
  /// Valid leases sorted by key.
  private var leases: [Lease] = []
  /// What was last said about a file, so that it is said once.
  private var warned: [String: String] = [:]
  private var revision: UInt64 = 0
  /// Everything the last full look found, as long as nothing has changed since and nobody said `forgetScan`.
  private var scanned: [LeaseFiles.Entry]?
  /// Something failed half-way: the next `read` looks at everything.
  private var stale = false

  /// Grows whenever `DIR/config` may have changed.
  public private(set) var configurationRevision: UInt64 = 0

  /// Until the lease is acquired what was read is kept, so that `DirectoryRegistry.acquire` need not read thousands of
  /// files a second time.
  private var keepsScan = true

  /// Everything in the directory, if no file was touched since the last full look; nil otherwise.
  func currentEntries() throws(SystemError) -> [LeaseFiles.Entry]? {
    _ = try read()
    return stale ? nil : scanned
  }

  /// Lets go of what was kept for acquiring.
  func forgetScan() {
    keepsScan = false
    scanned = nil
  }

  /// Starts watching and reads everything there is.
  public init(
    path: String, now: Int64 = Clock.realtime(), warn: @escaping (String) -> Void
  ) throws(SystemError) {
    self.path = DirectoryRegistry.normalized(path)
    self.warn = warn
    inotify = try Inotify()
    _ = try rescan(now: now)
  }

  /// For poll(2): readable when `read` has something to do.
  public var descriptor: Int32 { inotify.descriptor }

  /// All valid leases, this node's own included.
  public var snapshot: LeaseSnapshot { LeaseSnapshot(sorted: leases, revision: revision) }

  /// When the first lease will expire, in nanoseconds since the epoch; nil when none will.
  public var nextExpiration: Int64? { leases.lazy.compactMap(\.expiration).min() }

  /// Takes in what happened since the last call; only files that were touched are read again.
  /// - Returns: true when `snapshot.revision` or `configurationRevision` has grown.
  public func read(now: Int64 = Clock.realtime()) throws(SystemError) -> Bool {
    let before = (revision, configurationRevision)
    var everything = stale
    // Names in order of appearance; the flag says that the file may still be being written.
    var names: [String] = []
    var fresh: [String: Bool] = [:]
    for event in try inotify.read(into: &events) {
      let gone = !event.mask.isDisjoint(with: [.selfDeleted, .selfMoved, .ignored, .unmounted])
      if event.mask.contains(.overflow) {
        everything = true
        configurationRevision += 1
      } else if event.watch == subnets {
        if gone {
          everything = true
        } else if let known = fresh[event.name] {
          fresh[event.name] = known && event.mask.contains(.created)
        } else {
          names.append(event.name)
          fresh[event.name] = event.mask.contains(.created)
        }
      } else if event.watch == base {
        if event.name == "config" { configurationRevision += 1 }
        if gone || event.name == "subnets" { everything = true }
      } else if event.watch == parent {
        if gone || event.name == Files.split(path).name { everything = true }
      }
    }
    if everything {
      _ = try rescan(now: now)
    } else if !names.isEmpty {
      scanned = nil
      stale = true
      try update(names, fresh, now)
      stale = false
    }
    return before != (revision, configurationRevision)
  }

  /// Reads all files again and repairs the watches.
  /// - Returns: true when `snapshot.revision` or `configurationRevision` has grown.
  public func rescan(now: Int64 = Clock.realtime()) throws(SystemError) -> Bool {
    let before = (revision, configurationRevision)
    // Watch first, read second: a change in between is then seen twice and not missed.
    stale = true
    try arm()
    var all: [Lease] = []
    var entries: [LeaseFiles.Entry] = []
    defer { scanned = keepsScan ? entries : nil }
    if subnets != nil {
      do {
        var files = try LeaseFiles(path: "\(path)/subnets")
        let names = try files.names()
        all.reserveCapacity(names.count)
        for name in names {
          guard let entry = try load(name, &files, quiet: false) else { continue }
          if keepsScan { entries.append(entry) }
          if let lease = entry.lease, !lease.isExpired(at: now) { all.append(lease) }
        }
        if !warned.isEmpty {
          let present = Set(names)
          warned = warned.filter { present.contains($0.key) }
        }
      } catch  where error.errno == .noEntry {
        all = []
        entries = []
      }
    }
    replaceAll(LeaseSnapshot(all).leases)
    stale = false
    return before != (revision, configurationRevision)
  }

  /// Drops leases whose time is over.
  /// - Returns: true when there were any.
  public func expire(now: Int64 = Clock.realtime()) -> Bool {
    let left = leases.filter { !$0.isExpired(at: now) }
    guard left.count != leases.count else { return false }
    leases = left
    revision += 1
    return true
  }
}

extension DirectoryWatcher {
  private static let subnetsMask: Inotify.Event.Mask = [
    .closedAfterWrite, .movedTo, .movedFrom, .created, .deleted, .attributes, .selfDeleted, .selfMoved, .onlyDirectory,
  ]
  private static let baseMask: Inotify.Event.Mask = [
    .closedAfterWrite, .movedTo, .movedFrom, .created, .deleted, .selfDeleted, .selfMoved, .onlyDirectory,
  ]

  /// Sets the watches anew: a directory made again under the same name is another file and needs another watch.
  private func arm() throws(SystemError) {
    let oldBase = base
    base = try watch(path, Self.baseMask, replacing: base)
    subnets = try watch("\(path)/subnets", Self.subnetsMask, replacing: subnets)
    if base != oldBase { configurationRevision += 1 }
    if base == nil {
      parent = try watch(
        Files.split(path).directory, [.created, .movedTo, .selfDeleted, .onlyDirectory], replacing: parent)
    } else if let watch = parent {
      inotify.remove(watch)
      parent = nil
    }
  }

  private func watch(
    _ path: String, _ mask: Inotify.Event.Mask, replacing old: Int32?
  ) throws(SystemError) -> Int32? {
    var new: Int32?
    do {
      new = try inotify.add(path, mask)
    } catch  where error.errno == .noEntry {}
    if let old, old != new { inotify.remove(old) }
    return new
  }

  /// What is in a file whose name is a key; nil when it is gone. A file without a lease is reported once.
  private func load(
    _ name: String, _ files: inout LeaseFiles, quiet: Bool
  ) throws(SystemError) -> LeaseFiles.Entry? {
    guard let key = LeaseKey(name) else {
      report(name, quiet ? nil : "is not named like a lease (10.244.7.0-24); ignored")
      return nil
    }
    guard let entry = try files.read(name, key) else {
      warned[name] = nil
      return nil
    }
    switch entry.attributes {
    case .success:
      warned[name] = nil
    case .failure(let error):
      report(name, quiet ? nil : "is not a usable lease: \(error); its subnet stays out of use and gets no route")
    }
    return entry
  }

  private func report(_ name: String, _ text: String?) {
    guard let text, warned[name] != text else { return }
    warned[name] = text
    warn("\(path)/subnets/\(name) \(text)")
  }

  private func update(_ names: [String], _ fresh: [String: Bool], _ now: Int64) throws(SystemError) {
    var files: LeaseFiles
    do {
      files = try LeaseFiles(path: "\(path)/subnets")
    } catch  where error.errno == .noEntry {
      replaceAll([])
      return
    }
    for name in names where !name.isEmpty {
      let lease = try load(name, &files, quiet: fresh[name] ?? false)?.lease
      guard let key = lease?.key ?? LeaseKey(name) else {
        if !Files.exists("\(path)/subnets/\(name)") { warned[name] = nil }
        continue
      }
      // A file with an unusual name never had a lease, but its namesake may have one.
      guard key.isSpelled(name) else { continue }
      put(lease.flatMap { $0.isExpired(at: now) ? nil : $0 }, at: key)
    }
  }

  /// Adds, replaces or (nil) removes one lease.
  private func put(_ lease: Lease?, at key: LeaseKey) {
    let i = leases.position(of: key)
    let known = i < leases.count && leases[i].subnets == key.subnets
    switch (known, lease) {
    case (true, let lease?):
      if leases[i].attributes != lease.attributes { revision += 1 }
      leases[i] = lease
    case (true, nil):
      leases.remove(at: i)
      revision += 1
    case (false, let lease?):
      leases.insert(lease, at: i)
      revision += 1
    case (false, nil): break
    }
  }

  private func replaceAll(_ new: [Lease]) {
    let same =
      new.count == leases.count
      && zip(new, leases).allSatisfy { $0.subnets == $1.subnets && $0.attributes == $1.attributes }
    leases = new
    if !same { revision += 1 }
  }
}
