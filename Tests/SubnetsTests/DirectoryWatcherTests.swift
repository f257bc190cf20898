import Glibc
import NetTypes
import Syscalls
import TestSupport
import Testing

@testable import Subnets

@Suite struct DirectoryWatcherTests {
  /// True when the descriptor is readable now: inotify reports in the system call that changes a file.
  private func isReadable(_ watcher: DirectoryWatcher) -> Bool {
    var p = pollfd(fd: watcher.descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&p, 1, 0) == 1
  }

  private func keys(_ watcher: DirectoryWatcher) -> [String] { watcher.snapshot.leases.map(\.key.description) }

  @Test func addReplaceRemove() throws {
    let f = try RegistryFixture()
    try f.put("10.3.4.0-24", "1.1.1.1")
    let w = try f.watcher.get()
    #expect(keys(w) == ["10.3.4.0-24"] && !isReadable(w))
    #expect(try !w.read(), "nothing happened")
    var revision = w.snapshot.revision

    try f.put("10.3.10.0-24", "1.1.1.2")
    try f.put("10.3.3.0-24&fd00::-64", text: #"{"PublicIP":"1.1.1.3","PublicIPv6":"fd77::3"}"#)
    #expect(isReadable(w))
    #expect(try w.read())
    #expect(keys(w) == ["10.3.3.0-24&fd00::-64", "10.3.4.0-24", "10.3.10.0-24"])
    #expect(w.snapshot.revision > revision)
    revision = w.snapshot.revision

    try f.put("10.3.10.0-24", "1.1.1.9")
    #expect(try w.read() && w.snapshot.revision > revision)
    #expect(w.snapshot[try #require(LeaseKey("10.3.10.0-24"))]?.attributes.publicIPs.ipv4 == IPAddress("1.1.1.9"))
    revision = w.snapshot.revision

    // By hand, not by rename.
    let hand = try FileDescriptor.open("\(f.path)/subnets/10.3.11.0-24", O_CREAT | O_WRONLY, mode: 0o644)
    try hand.write(Array(#"{"PublicIP":"1.1.1."#.utf8))
    #expect(try !w.read())
    #expect(f.said.isEmpty, "a file being written is no reason to complain")
    try hand.write(Array(#"4"}"#.utf8))
    _ = consume hand
    #expect(try w.read())
    #expect(keys(w).contains("10.3.11.0-24"))

    try Files.remove("\(f.path)/subnets/10.3.4.0-24")
    #expect(rename("\(f.path)/subnets/10.3.11.0-24", f.directory.file("away")) == 0)
    #expect(try w.read() && w.snapshot.revision > revision)
    #expect(keys(w) == ["10.3.3.0-24&fd00::-64", "10.3.10.0-24"])
    #expect(w.snapshot[try #require(LeaseKey("10.3.4.0-24"))] == nil)
    #expect(link(f.directory.file("away"), "\(f.path)/subnets/10.3.12.0-24") == 0)
    #expect(try w.read() && keys(w).contains("10.3.12.0-24"))
    revision = w.snapshot.revision
    #expect(try !w.rescan() && w.snapshot.revision == revision && f.said.isEmpty)
  }

  @Test func ownLeaseAcquireRenewRevoke() throws {
    let f = try RegistryFixture()
    let lease = try f.acquire("1.2.3.4")
    let w = try f.watcher.get()
    #expect(w.snapshot[lease.key]?.attributes == lease.attributes)
    f.age("\(f.path)/subnets/\(lease.key)", 20)
    _ = try w.read()
    let old = try #require(w.nextExpiration)
    let revision = w.snapshot.revision
    let renewed = try f.registry.renew(lease)
    #expect(isReadable(w))
    #expect(try !w.read(), "a renewal is not a change")
    #expect(w.snapshot.revision == revision)
    #expect(
      w.nextExpiration == renewed.expiration && w.snapshot[lease.key] == renewed && (renewed.expiration ?? 0) > old)
    _ = try f.acquire("1.2.3.4")
    #expect(try !w.read() && w.snapshot[lease.key] != nil, "never missing in between")
    try Files.remove("\(f.path)/subnets/\(lease.key)")
    #expect(try w.read() && w.snapshot[lease.key] == nil, "revoked by hand")
  }

  @Test func waitingForTheLockWakesNobody() throws {
    let f = try RegistryFixture(#"{"Network":"10.3.0.0/16","SubnetMin":"10.3.4.0","SubnetMax":"10.3.4.0"}"#)
    _ = try f.acquire("1.2.3.4")
    let w = try f.watcher.get()
    #expect(throws: RegistryError.self) { try f.acquire("1.2.3.5") }
    #expect(!isReadable(w))
  }

  @Test func expiry() throws {
    let f = try RegistryFixture()
    try f.put("10.3.4.0-24", "1.1.1.1", age: 10)
    try f.put("10.3.5.0-24", "1.1.1.2", age: 20)
    try f.put("10.3.6.0-24", "1.1.1.3", age: 30)
    try f.put("10.3.7.0-24", "1.1.1.4", mode: 0o444, age: 1000)
    let w = try f.watcher.get()
    #expect(keys(w) == ["10.3.4.0-24", "10.3.5.0-24", "10.3.7.0-24"])
    let now = Clock.realtime()
    let next = try #require(w.nextExpiration)
    let hour: Int64 = 3600 * 1_000_000_000
    #expect(abs(next - now - 4 * hour) < hour / 6)
    #expect(!w.expire(now: next - 1) && !w.expire(now: next))
    #expect(w.expire(now: next + 1))
    #expect(keys(w) == ["10.3.4.0-24", "10.3.7.0-24"])
    #expect(w.expire(now: now + 1000 * hour))
    #expect(keys(w) == ["10.3.7.0-24"] && w.nextExpiration == nil)
    // Touched again, it is a lease again; made a reservation, it stays.
    f.age("\(f.path)/subnets/10.3.6.0-24", 0)
    #expect(try w.read() && keys(w).contains("10.3.6.0-24"))
    #expect(chmod("\(f.path)/subnets/10.3.6.0-24", 0o444) == 0)
    _ = try w.read()
    #expect(w.nextExpiration == nil && keys(w).contains("10.3.6.0-24"))
  }

  @Test func warningsAreGivenOnce() throws {
    let f = try RegistryFixture()
    try f.put("10.3.4.0-24", text: "{")
    try f.put("README", text: "x")
    let w = try f.watcher.get()
    #expect(
      f.said.sorted() == [
        "\(f.path)/subnets/10.3.4.0-24 is not a usable lease: invalid JSON at byte 1: unexpected end; "
          + "its subnet stays out of use and gets no route",
        "\(f.path)/subnets/README is not named like a lease (10.244.7.0-24); ignored",
      ])
    _ = try w.rescan()
    try f.put("README", text: "y")
    _ = try w.read()
    #expect(f.said.count == 2)
    try f.put("10.3.4.0-24", "1.1.1.1")
    #expect(try w.read())
    try f.put("10.3.4.0-24", text: "{")
    #expect(try w.read() && keys(w).isEmpty && f.said.count == 3, "broken again: said again")
    try f.put("10.3.5.1-24", "1.1.1.1")
    #expect(try !w.read())
    #expect(f.said.last?.contains("agents write this name as 10.3.5.0-24; rename the file") == true)
    try Files.remove("\(f.path)/subnets/README")
    _ = try w.read()
    try f.put("README", text: "z")
    _ = try w.read()
    #expect(f.said.count == 5)
  }

  @Test func configurationChanges() throws {
    let f = try RegistryFixture()
    _ = try f.acquire("1.2.3.4")
    let w = try f.watcher.get()
    let before = w.configurationRevision
    try f.configure(#"{"Network":"10.4.0.0/16"}"#)
    #expect(try w.read() && w.configurationRevision > before)
    let revision = w.configurationRevision
    try f.directory.write("x", to: "reg/other")
    #expect(try !w.read() && w.configurationRevision == revision)
    try Files.remove("\(f.path)/config")
    #expect(try w.read() && w.configurationRevision > revision)
  }

  @Test func directoryRemovedAndMadeAgain() throws {
    let f = try RegistryFixture()
    try f.put("10.3.4.0-24", "1.1.1.1")
    let w = try f.watcher.get()
    for _ in 0..<2 {
      try Files.removeTree("\(f.path)/subnets")
      #expect(try w.read() && keys(w).isEmpty)
      try f.put("10.3.5.0-24", "1.1.1.2")
      #expect(try w.read() && keys(w) == ["10.3.5.0-24"])
      try f.put("10.3.6.0-24", "1.1.1.3")
      #expect(try w.read() && keys(w).count == 2)
    }
    for _ in 0..<2 {
      try Files.removeTree(f.path)
      #expect(try w.read() && keys(w).isEmpty)
      let revision = w.configurationRevision
      try f.configure(RegistryFixture.config)
      try f.put("10.3.7.0-24", "1.1.1.2")
      #expect(try w.read() && keys(w) == ["10.3.7.0-24"] && w.configurationRevision > revision)
      try f.put("10.3.8.0-24", "1.1.1.3")
      #expect(try w.read() && keys(w).count == 2)
    }
    // Moved aside, with another one put in its place.
    #expect(rename("\(f.path)/subnets", f.directory.file("aside")) == 0)
    try f.put("10.3.9.0-24", "1.1.1.4")
    #expect(try w.read() && keys(w) == ["10.3.9.0-24"])
    try f.directory.write(#"{"PublicIP":"1.1.1.5"}"#, to: "aside/10.3.10.0-24")
    #expect(try !w.read(), "what was moved aside is not ours any more")
    #expect(f.said.isEmpty)
  }

  @Test func missingFromTheStart() throws {
    let f = try RegistryFixture()
    try Files.removeTree(f.path)
    let w = try f.watcher.get()
    #expect(keys(w).isEmpty)
    try f.put("10.3.5.0-24", "1.1.1.2")
    #expect(try w.read() && keys(w) == ["10.3.5.0-24"])
  }

  @Test func unusableDirectoryKeepsWhatIsKnown() throws {
    let f = try RegistryFixture()
    try f.put("10.3.4.0-24", "1.1.1.1")
    let w = try f.watcher.get()
    #expect(rename("\(f.path)/subnets", f.directory.file("aside")) == 0)
    try f.directory.write("a file", to: "reg/subnets")
    let error = #expect(throws: SystemError.self) { try w.read() }
    #expect(error?.description == "watch \(f.path)/subnets: not a directory")
    #expect(keys(w) == ["10.3.4.0-24"], "a mistake in the file system is no reason to cut off the other nodes")
    try Files.remove("\(f.path)/subnets")
    #expect(rename(f.directory.file("aside"), "\(f.path)/subnets") == 0)
    try f.put("10.3.5.0-24", "1.1.1.2")
    #expect(try w.read() && keys(w) == ["10.3.4.0-24", "10.3.5.0-24"])
  }

  /// More events than the queue holds while nobody reads.
  @Test func overflow() throws {
    let f = try RegistryFixture()
    try f.put("10.3.4.0-24", "1.1.1.1")
    let w = try f.watcher.get()
    let limit =
      Int(try Files.text("/proc/sys/fs/inotify/max_queued_events").split(separator: "\n").first ?? "") ?? 16384
    try #require(limit < 200_000)
    // Two files in turn, for the kernel merges equal events that follow each other.
    try f.put("10.3.5.0-24", "1.1.1.2")
    for i in 0..<(limit + 10) { f.touch("\(f.path)/subnets/10.3.\(4 + i % 2).0-24") }
    try f.put("10.3.6.0-24", "1.1.1.3")
    try Files.remove("\(f.path)/subnets/10.3.4.0-24")
    #expect(try w.read())
    #expect(keys(w) == ["10.3.5.0-24", "10.3.6.0-24"])
    try f.put("10.3.7.0-24", "1.1.1.4")
    #expect(try w.read() && keys(w).count == 3)
  }

  @Test func fiveThousandLeases() throws {
    let f = try RegistryFixture(#"{"Network":"10.0.0.0/8"}"#)
    try Files.makeDirectory("\(f.path)/subnets")
    for i in 0..<5000 {
      let file = try FileDescriptor.open(
        "\(f.path)/subnets/10.\(i >> 8).\(i & 255).0-24", O_CREAT | O_WRONLY, mode: 0o644)
      try file.write(
        Array(
          #"{"PublicIP":"172.16.\#(i >> 8).\#(i & 255)","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}}"#
            .utf8))
    }
    let w = try f.watcher.get()
    #expect(w.snapshot.leases.count == 5000 && f.said.isEmpty)
    #expect(zip(w.snapshot.leases, w.snapshot.leases.dropFirst()).allSatisfy { $0.key < $1.key })
    let lease = try f.acquire("1.2.3.4")
    let first = try #require(IPPrefix("10.19.136.0/24"))
    #expect((0..<100).contains(try #require(lease.subnet(.ipv4)).base.value >> 8 - first.base.value >> 8))
    #expect(try w.read() && w.snapshot.leases.count == 5001 && w.snapshot[lease.key] == lease)
    let revision = w.snapshot.revision
    #expect(try !w.rescan() && w.snapshot.revision == revision)
  }

  /// Random actions of others; after each batch the watcher agrees with a fresh look.
  @Test func followsRandomActions() throws {
    let f = try RegistryFixture()
    var random = Seeded(21)
    try Files.makeDirectory("\(f.path)/subnets")
    let w = try f.watcher.get()
    for _ in 0..<150 {
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        let key = "10.3.\(Int.random(in: 1...8, using: &random)).0-24"
        let file = "\(f.path)/subnets/\(key)"
        switch Int.random(in: 0..<8, using: &random) {
        case 0...2: try f.put(key, "1.1.1.\(Int.random(in: 1...9, using: &random))")
        case 3: try f.put(key, text: "broken")
        case 4: try Files.remove(file)
        case 5: if Files.exists(file) { f.age(file, Int64.random(in: 0...50, using: &random)) }
        case 6: _ = rename(file, "\(f.path)/subnets/10.3.\(Int.random(in: 1...8, using: &random)).0-24")
        default: if Int.random(in: 0..<10, using: &random) == 0 { try Files.removeTree("\(f.path)/subnets") }
        }
      }
      _ = try w.read()
      _ = w.expire()
      #expect(w.snapshot.leases == (try f.registry.snapshot().leases))
    }
  }
}

extension RegistryFixture {
  /// Sets the modification time to now.
  func touch(_ file: String) { _ = utimensat(AT_FDCWD, file, nil, 0) }
}
