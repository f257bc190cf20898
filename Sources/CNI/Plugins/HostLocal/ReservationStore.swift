import Glibc
import NetTypes
import Syscalls

/// The reservations of one network on disk, in the format of the reference plugin (contract cni §B3 "Files"), held
/// under its lock as long as this value lives:
/// `<address>` with `<container id>\r\n<ifname>`, `last_reserved_ip.<set>`, `lock`.
///
/// A reservation is written to a file without a name which is then linked to the address: a name never stands for a
/// partial file, whenever the process dies. Nothing is synced, since containers do not survive a power loss either; an
/// empty file that such a loss may leave is taken over when it is older than the boot.
struct ReservationStore: ~Copyable {
  let path: String
  private let directory: FileDescriptor
  private let lock: FileDescriptor
  /// Opened when first needed; nil when it cannot be.
  private var indexFile: FileDescriptor?
  private var index: ReservationIndex?
  private var changed = false

  private init(
    path: String, directory: consuming FileDescriptor, lock: consuming FileDescriptor,
    indexFile: consuming FileDescriptor?, index: ReservationIndex?
  ) {
    self.path = path
    self.directory = directory
    self.lock = lock
    self.indexFile = indexFile
    self.index = index
  }

  /// Opens and locks the directory.
  /// - Parameter create: make the directory if it is missing.
  /// - Returns: nil when the directory is missing and is not to be made.
  static func open(_ path: String, create: Bool) throws(SystemError) -> ReservationStore? {
    do throws(SystemError) {
      return try opened(path)
    } catch {
      guard error.errno == .noEntry else { throw error }
      guard create else { return nil }
    }
    try Files.makeDirectory(path, mode: 0o755)
    return try opened(path)
  }

  private static func opened(_ path: String) throws(SystemError) -> ReservationStore {
    let directory = try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY)
    let lock = try FileDescriptor.openat(directory.number, "lock", O_RDONLY | O_CREAT, mode: 0o640)
    try lock.lock(object: "\(path)/lock")
    let indexFile = try? FileDescriptor.openat(
      directory.number, ReservationIndex.fileName, O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o600)
    let index = Self.readIndex(indexFile, directory)
    return ReservationStore(path: path, directory: directory, lock: lock, indexFile: indexFile, index: index)
  }

  private static func readIndex(
    _ file: borrowing FileDescriptor?, _ directory: borrowing FileDescriptor
  ) -> ReservationIndex? {
    guard let time = try? directory.status().modified, time > bootTime else { return nil }
    switch file {
    case .some(let f): return (try? f.readAll(limit: 1 << 22)).flatMap { ReservationIndex($0, directoryTime: time) }
    case .none: return nil
    }
  }

  /// When the machine was started, nanoseconds since the epoch.
  static var bootTime: Int64 {
    var up = timespec()
    _ = unsafe clock_gettime(CLOCK_BOOTTIME, &up)
    return Clock.realtime() &- (Int64(up.tv_sec) &* 1_000_000_000 &+ Int64(up.tv_nsec))
  }

  // MARK: Looking up

  /// The addresses an attachment holds, in the present or the old format.
  /// - Parameter thorough: look into every file if the index knows none.
  mutating func addresses(
    of attachment: CNIRequest.Attachment, thorough: Bool
  ) throws(SystemError) -> [IPAddress] {
    let old = CNIRequest.Attachment(containerID: attachment.containerID, ifname: "")
    if let index {
      for key in [attachment, old] {
        let found = index.addresses(of: ReservationIndex.hash(key)).filter { holder($0) == key }
        if !found.isEmpty { return found }
      }
      if !thorough { return [] }
    }
    let all = try scan()
    let own = all.filter { $0.holder == attachment }.map(\.address)
    return own.isEmpty ? all.filter { $0.holder == old }.map(\.address) : own
  }

  /// Every reservation, by reading every address file. The index is made anew from it.
  mutating func scan() throws(SystemError) -> [(address: IPAddress, holder: CNIRequest.Attachment?)] {
    var out: [(address: IPAddress, holder: CNIRequest.Attachment?)] = []
    for name in try Files.list(path) {
      guard let a = IPAddress(name), a.description == name else { continue }
      out.append((a, holder(a)))
    }
    var fresh = ReservationIndex()
    if out.count <= ReservationIndex.maximumCount {
      for (a, h) in out { if let h { fresh.insert(a, ReservationIndex.hash(h)) } }
      index = fresh
      changed = true
    }
    return out
  }

  /// Who holds an address: the content of its file. An empty id stands for an empty file; nil for none at all.
  private func holder(_ a: IPAddress) -> CNIRequest.Attachment? {
    guard let file = try? FileDescriptor.openat(directory.number, a.description, O_RDONLY),
      let bytes = try? file.readAll(limit: 4096)
    else { return nil }
    let text = trimmed(bytes[...])
    guard let cr = text.indices.first(where: { text[$0...].starts(with: [0x0d, 0x0a]) }) else {
      return CNIRequest.Attachment(containerID: String(decoding: text, as: UTF8.self), ifname: "")
    }
    return CNIRequest.Attachment(
      containerID: String(decoding: text[..<cr], as: UTF8.self),
      ifname: String(decoding: text[(cr + 2)...], as: UTF8.self))
  }

  /// The address reserved last in a set; nil when there is none or the file is unreadable.
  func lastReserved(_ set: Int) -> IPAddress? {
    guard let file = try? FileDescriptor.openat(directory.number, "last_reserved_ip.\(set)", O_RDONLY),
      let bytes = try? file.readAll(limit: 256)
    else { return nil }
    return IPAddress(String(decoding: bytes, as: UTF8.self))
  }

  // MARK: Changing

  /// A reservation being made: a complete file without a name in the directory.
  struct Draft: ~Copyable {
    fileprivate let file: FileDescriptor
    fileprivate let directory: Int32
    /// Where the file system cannot make files without a name; removed at the end.
    fileprivate let temporary: String?

    deinit {
      if let temporary { _ = unsafe unlinkat(directory, temporary, 0) }
    }
  }

  /// Writes the file for an attachment, to be linked to the first free address.
  func draft(_ attachment: CNIRequest.Attachment) throws(SystemError) -> Draft {
    let content = Array("\(attachment.containerID)\r\n\(attachment.ifname)".utf8)
    do throws(SystemError) {
      let file = try FileDescriptor.openat(directory.number, ".", O_WRONLY | temporaryFile, mode: 0o600)
      try file.write(content, object: path)
      return Draft(file: file, directory: directory.number, temporary: nil)
    } catch {
      guard [.notSupported, Errno(rawValue: EISDIR), .invalid, .noEntry].contains(error.errno) else { throw error }
    }
    let name = ".weft-new-\(getpid())"
    try? remove(name)
    let draft = Draft(
      file: try FileDescriptor.openat(directory.number, name, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600),
      directory: directory.number, temporary: name)
    try draft.file.write(content, object: "\(path)/\(name)")
    return draft
  }

  /// Gives an address to the draft; false when it is taken.
  func link(_ draft: borrowing Draft, to a: IPAddress) throws(SystemError) -> Bool {
    let source = draft.temporary ?? "/proc/self/fd/\(draft.file.number)"
    let rc = unsafe linkat(
      draft.temporary == nil ? AT_FDCWD : directory.number, source, directory.number, a.description,
      draft.temporary == nil ? AT_SYMLINK_FOLLOW : 0)
    if rc == 0 { return true }
    if Errno.current == .exists { return false }
    throw SystemError("create", "\(path)/\(a)")
  }

  /// Notes a linked address in the index and as the set's last one. Only a hint for the next allocation is lost when
  /// that fails, so it is no error.
  mutating func noteReserved(_ a: IPAddress, _ attachment: CNIRequest.Attachment, set: Int) {
    index?.insert(a, ReservationIndex.hash(attachment))
    changed = true
    let name = "last_reserved_ip.\(set)"
    if let file = try? FileDescriptor.openat(directory.number, name, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600) {
      try? file.write(Array(a.description.utf8), object: name)
    }
  }

  /// Frees an address; one that is free already is fine.
  mutating func release(_ a: IPAddress, _ attachment: CNIRequest.Attachment) throws(SystemError) {
    try remove(a.description)
    let old = CNIRequest.Attachment(containerID: attachment.containerID, ifname: "")
    index?.remove(a, ReservationIndex.hash(attachment))
    index?.remove(a, ReservationIndex.hash(old))
    changed = true
  }

  /// Frees an address whose file is empty and older than the boot: what a crash of the reference plugin leaves. True
  /// when it was freed.
  mutating func reclaim(_ a: IPAddress) -> Bool {
    guard let s = try? Files.linkStatus("\(path)/\(a)"), s.isRegular, s.size == 0, s.modified < Self.bootTime,
      (try? remove(a.description)) != nil
    else { return false }
    changed = true
    return true
  }

  private func remove(_ name: String) throws(SystemError) {
    guard unsafe unlinkat(directory.number, name, 0) == 0 || Errno.current == .noEntry else {
      throw SystemError("remove", "\(path)/\(name)")
    }
  }

  /// Writes the index if anything was changed. To be called last; without it the index does not count any more, which
  /// costs the next call a scan. The records go before the header, which makes them count.
  mutating func commit() {
    guard changed, var index, let file = indexFile.take() else { return }
    let number = file.number
    let body = index.bytes[16...]
    guard write(body, number, 16), ftruncate(number, off_t(index.bytes.count)) == 0 else { return }
    let past = Clock.realtime() &- 1_000_000_000
    let time = timespec(tv_sec: Int(past / 1_000_000_000), tv_nsec: Int(past % 1_000_000_000))
    var times = [timespec(tv_sec: 0, tv_nsec: keepTime), time]
    guard unsafe futimens(directory.number, &times) == 0, let now = try? directory.status().modified else { return }
    index.stamp(now)
    _ = write(index.bytes[..<16], number, 0)
  }

  private func write(_ bytes: ArraySlice<UInt8>, _ file: Int32, _ offset: Int) -> Bool {
    let n = unsafe bytes.withUnsafeBytes { unsafe pwrite(file, $0.baseAddress, $0.count, off_t(offset)) }
    return n == bytes.count
  }
}

/// `O_TMPFILE`, a macro the importer does not see; the same on all architectures but for `O_DIRECTORY`.
private let temporaryFile: Int32 = O_DIRECTORY | 0o20000000

/// `UTIME_OMIT`: leave this of the two times as it is.
private let keepTime = (1 << 30) - 2

/// Without white space at both ends.
private func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
  func isSpace(_ c: UInt8) -> Bool { c == 0x20 || (0x09...0x0d).contains(c) }
  guard let first = bytes.firstIndex(where: { !isSpace($0) }), let last = bytes.lastIndex(where: { !isSpace($0) })
  else { return [] }
  return bytes[first...last]
}
