import Glibc
import NetTypes
import Syscalls
import TestSupport
import Testing

@testable import Subnets

@Suite struct DirectoryRegistryTests {
  @Test func configurationErrorsNameTheFile() throws {
    let f = try RegistryFixture("{}")
    #expect(
      #expect(throws: RegistryError.self) { try f.registry.configuration() }?.description
        == "\(f.path)/config: please define a correct Network parameter in the flannel config")
    try Files.remove("\(f.path)/config")
    let missing = #expect(throws: RegistryError.self) { try f.registry.configuration() }
    #expect(missing == .configurationMissing(path: "\(f.path)/config"))
    #expect(missing?.description.hasPrefix("flannel config not found: there is no \(f.path)/config; write") == true)
  }

  @Test func acquiresAndKeeps() throws {
    let f = try RegistryFixture()
    let before = Clock.realtime()
    let lease = try f.acquire("1.2.3.4")
    let subnet = try #require(lease.subnet(.ipv4))
    #expect(try f.registry.configuration().pool(.ipv4).contains(subnet))
    let expiration = try #require(lease.expiration)
    let hour: Int64 = 3600 * 1_000_000_000
    // The file system's clock may lag by one tick.
    #expect(expiration > before + 24 * hour - hour / 60 && expiration <= Clock.realtime() + 24 * hour)
    #expect(try f.keys == ["\(subnet.base)-24"])
    #expect(try f.text("\(subnet.base)-24") == #"{"PublicIP":"1.2.3.4","PublicIPv6":null}"#)
    #expect(try Files.status("\(f.path)/subnets/\(subnet.base)-24").permissions == 0o644)
    for _ in 0..<5 { #expect(try f.acquire("1.2.3.4").subnets == lease.subnets) }
    #expect(try f.acquire("1.2.3.4", previous: "10.3.9.0/24").subnets == lease.subnets, "what it has goes first")
    #expect(try f.acquire("1.2.3.5").subnets != lease.subnets)
    #expect(try f.leftovers.isEmpty && f.said.isEmpty)
  }

  @Test func attributesAreReplacedInPlace() throws {
    let f = try RegistryFixture()
    let first = try f.acquire("1.2.3.4")
    f.age("\(f.path)/subnets/\(first.key)", 20)
    var attributes = RegistryFixture.attributes("1.2.3.4", type: "vxlan")
    attributes.backendData.ipv4 = BackendData(["VNI": 1, "VtepMAC": "0a:1b:2c:3d:4e:5f"])
    let second = try f.registry.acquire(attributes, configuration: try f.registry.configuration())
    #expect(second.subnets == first.subnets && second.attributes == attributes)
    #expect((second.expiration ?? 0) >= (first.expiration ?? 0))
    #expect(
      try f.text(first.key.description)
        == #"{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"0a:1b:2c:3d:4e:5f"}}"#
    )
    #expect(try f.keys.count == 1)
  }

  @Test func previousSubnetIsUsedWhenFreeAndFitting() throws {
    let f = try RegistryFixture()
    #expect(try f.acquire("1.2.3.4", previous: "10.3.6.0/24").key.description == "10.3.6.0-24")
    #expect(try f.acquire("1.2.3.5", previous: "10.3.6.0/24").key.description != "10.3.6.0-24", "taken")
    for (i, bad) in ["10.4.1.0/24", "10.3.7.0/25", "10.3.0.0/24", "10.3.26.0/24"].enumerated() {
      let subnet = try #require(try f.acquire("1.2.4.\(i)", previous: bad).subnet(.ipv4))
      #expect(try f.registry.configuration().pool(.ipv4).contains(subnet), "\(bad) does not fit")
    }
  }

  @Test func changedConfigurationMovesTheLease() throws {
    let f = try RegistryFixture()
    let old = try f.acquire("1.2.3.4")
    try f.put("10.3.2.0-24", "1.1.1.1")
    try f.configure(#"{"Network":"10.4.0.0/16"}"#)
    let new = try f.acquire("1.2.3.4")
    #expect(try #require(IPPrefix("10.4.0.0/16")).contains(try #require(new.subnet(.ipv4))))
    #expect(try f.keys == ["10.3.2.0-24", new.key.description].sorted(), "\(old.key) is gone, others stay")
  }

  @Test func toDualStackAndBack() throws {
    let f = try RegistryFixture()
    let four = try f.acquire("1.2.3.4")
    try f.configure(#"{"Network":"10.3.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:3::/48"}"#)
    let attributes = RegistryFixture.attributes("1.2.3.4", ipv6: "fd77::4")
    let both = try f.registry.acquire(
      attributes, configuration: f.registry.configuration(), previous: four.subnets)
    #expect(both.subnet(.ipv4) == four.subnet(.ipv4), "the previous half stays")
    #expect(try #require(IPPrefix("fd00:3::/48")).contains(try #require(both.subnet(.ipv6))))
    #expect(try f.keys == [both.key.description] && both.key.description.contains("&fd00:3:0:"))
    #expect(try f.text(both.key.description) == #"{"PublicIP":"1.2.3.4","PublicIPv6":"fd77::4"}"#)
    let other = try f.registry.acquire(
      RegistryFixture.attributes("1.2.3.5", ipv6: "fd77::5"), configuration: f.registry.configuration(),
      previous: both.subnets)
    #expect(other.subnet(.ipv4) != both.subnet(.ipv4) && other.subnet(.ipv6) != both.subnet(.ipv6))
    try f.configure(RegistryFixture.config)
    #expect(try f.acquire("1.2.3.4").key.description.contains("&") == false)
  }

  @Test func ipv6Alone() throws {
    let f = try RegistryFixture(#"{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:3::/48"}"#)
    let attributes = LeaseAttributes(publicIPs: PerFamily(ipv6: IPAddress("fd77::4")), backendType: "vxlan")
    let lease = try f.registry.acquire(attributes, configuration: f.registry.configuration())
    #expect(try f.keys == [lease.key.description] && lease.subnet(.ipv4) == nil)
    #expect(
      try f.text(lease.key.description) == #"{"PublicIP":null,"PublicIPv6":"fd77::4","BackendType":"vxlan"}"#)
    #expect(try f.registry.acquire(attributes, configuration: f.registry.configuration()).subnets == lease.subnets)
    #expect(throws: RegistryError.publicIPMissing(.ipv6)) { try f.acquire("1.2.3.4") }
    try f.configure(#"{"Network":"10.3.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:3::/48"}"#)
    let both = try f.registry.acquire(
      RegistryFixture.attributes("1.2.3.4", ipv6: "fd77::4"), configuration: f.registry.configuration(),
      previous: lease.subnets)
    #expect(
      try f.keys == [both.key.description] && both.subnet(.ipv6) == lease.subnet(.ipv6), "known by its IPv6 address")
  }

  @Test func exhaustionAndOverlap() throws {
    let f = try RegistryFixture(#"{"Network":"10.3.0.0/16","SubnetMin":"10.3.4.0","SubnetMax":"10.3.7.0"}"#)
    try f.put("10.3.4.0-23", "1.1.1.1")
    try f.put("10.3.7.128-25", text: "not a lease")
    #expect(try f.acquire("1.2.3.4").key.description == "10.3.6.0-24", "the only one that overlaps nothing")
    let error = #expect(throws: RegistryError.self) { try f.acquire("1.2.3.5") }
    #expect(error?.description == "out of subnets")
    #expect(try f.keys.count == 3)
  }

  @Test func expiredLeasesAreRemovedAndReused() throws {
    let f = try RegistryFixture(#"{"Network":"10.3.0.0/16","SubnetMin":"10.3.4.0","SubnetMax":"10.3.4.0"}"#)
    try f.put("10.3.4.0-24", "1.1.1.1", age: 23)
    try f.put("10.9.0.0-24", text: "old junk", age: 25)
    #expect(throws: RegistryError.self) { try f.acquire("1.2.3.4") }
    f.age("\(f.path)/subnets/10.3.4.0-24", 25)
    #expect(try f.registry.snapshot().leases.isEmpty)
    #expect(try f.acquire("1.2.3.4").key.description == "10.3.4.0-24")
    #expect(try f.keys == ["10.3.4.0-24"] && f.text("10.3.4.0-24").contains("1.2.3.4"))
    // One's own is taken up again, however late.
    f.age("\(f.path)/subnets/10.3.4.0-24", 1000)
    let again = try f.acquire("1.2.3.4")
    #expect(!again.isExpired(at: Clock.realtime()))
  }

  @Test func reservations() throws {
    let f = try RegistryFixture()
    try f.put("10.3.7.0-24", "1.2.3.4", mode: 0o444, age: 10_000)
    try f.put("10.3.8.0-24", "1.1.1.1", mode: 0o400, age: 10_000)
    try f.put("10.3.9.0-24", "1.2.3.4")
    let attributes = RegistryFixture.attributes("1.2.3.4", type: "host-gw")
    let lease = try f.registry.acquire(attributes, configuration: f.registry.configuration())
    #expect(lease.key.description == "10.3.7.0-24" && lease.isReservation && lease.attributes == attributes)
    #expect(try Files.status("\(f.path)/subnets/10.3.7.0-24").permissions == 0o444)
    #expect(try f.keys == ["10.3.7.0-24", "10.3.8.0-24"], "the other node's stays; one's own second lease goes")
    #expect(try f.registry.renew(lease) == lease)
    #expect(try f.acquire("1.2.3.5", previous: "10.3.8.0/24").key.description != "10.3.8.0-24")
    #expect(f.said.isEmpty)
    try f.configure(#"{"Network":"10.4.0.0/16"}"#)
    #expect(try f.acquire("1.2.3.4").key.description.hasPrefix("10.4."))
    #expect(
      f.said == [
        "\(f.path)/subnets/10.3.7.0-24 is reserved for 1.2.3.4 but does not fit the network config; not used"
      ])
    #expect(try f.keys.contains("10.3.7.0-24"))
  }

  @Test func renewal() throws {
    let f = try RegistryFixture()
    let lease = try f.acquire("1.2.3.4")
    let file = "\(f.path)/subnets/\(lease.key)"
    let inode = try Files.status(file).inode
    f.age(file, 20)
    let renewed = try f.registry.renew(lease)
    #expect((renewed.expiration ?? 0) >= (lease.expiration ?? 0) && renewed.attributes == lease.attributes)
    #expect(try Files.status(file).inode == inode, "nothing is rewritten")
    var changed = lease
    changed.attributes.backendType = "vxlan"
    #expect(try f.registry.renew(changed).attributes == changed.attributes)
    #expect(try f.text(lease.key.description).contains("vxlan"), "the stored value equals the attributes")

    try f.put(lease.key.description, "9.9.9.9")
    #expect(throws: RegistryError.leaseLost(lease.key, reason: "it belongs to 9.9.9.9 now")) {
      try f.registry.renew(lease)
    }
    try f.put(lease.key.description, text: "")
    #expect(throws: RegistryError.leaseLost(lease.key, reason: "its file does not hold a lease any more")) {
      try f.registry.renew(lease)
    }
    try Files.remove(file)
    let error = #expect(throws: RegistryError.self) { try f.registry.renew(lease) }
    #expect(error?.description == "lease lost: \(lease.key): its file was removed")
    #expect(!Files.exists(file), "a revoked lease is not made again")
    try Files.removeTree("\(f.path)/subnets")
    #expect(throws: RegistryError.self) { try f.registry.renew(lease) }
    #expect(!Files.exists("\(f.path)/subnets"))
  }

  @Test func foreignAndBrokenFilesAreLeftAlone() throws {
    let f = try RegistryFixture()
    for name in ["README", ".10.3.1.0-24.swp", "10.3.1.0-24~", "4913"] { try f.put(name, text: "x", age: 1000) }
    try f.put("10.3.5.7-24", "1.2.3.4")  // an unusual name
    try Files.makeDirectory("\(f.path)/subnets/10.3.6.0-24")
    #expect(mkfifo("\(f.path)/subnets/10.3.7.0-24", 0o644) == 0)
    #expect(symlink("/nonexistent", "\(f.path)/subnets/10.3.8.0-24") == 0)
    for i in 1...21 {
      let key = try f.acquire("5.5.5.\(i)").key.description
      #expect(!["10.3.5.0-24", "10.3.6.0-24", "10.3.7.0-24", "10.3.8.0-24"].contains(key))
    }
    #expect(throws: RegistryError.self) { try f.acquire("5.5.5.99") }
    #expect(try f.keys.count == 4 + 4 + 21)
    #expect(try f.registry.snapshot().leases.count == 21)
  }

  @Test func leftoversOfKilledAgentsAreRemovedAfterAnHour() throws {
    let f = try RegistryFixture()
    _ = try f.acquire("1.2.3.4", previous: "10.3.1.0/24")
    try f.directory.write("{\"Publ", to: "reg/.tmp/10.3.9.0-24.77-a")
    try f.directory.write("{\"Publ", to: "reg/.tmp/10.3.9.0-24.78-b")
    f.age(f.directory.file("reg/.tmp/10.3.9.0-24.77-a"), 2)
    #expect(try f.acquire("1.2.3.5", previous: "10.3.9.0/24").key.description == "10.3.9.0-24")
    #expect(try f.leftovers == ["10.3.9.0-24.78-b"])
    // Killed between the two steps of the fall-back: both names are the same complete file.
    #expect(link("\(f.path)/subnets/10.3.9.0-24", "\(f.path)/.tmp/10.3.9.0-24.79-c") == 0)
    #expect(try f.acquire("1.2.3.5").key.description == "10.3.9.0-24")
  }

  @Test func heldLockIsReported() throws {
    let f = try RegistryFixture()
    let lease = try f.acquire("1.2.3.4")
    let lock = try FileDescriptor.open("\(f.path)/lock", O_RDONLY)
    #expect(try lock.tryLock())
    f.registry.lockTimeout = 0
    let error = #expect(throws: RegistryError.self) { try f.registry.renew(lease) }
    #expect(error == .locked(path: "\(f.path)/lock", seconds: 0))
    #expect(throws: RegistryError.self) { try f.acquire("1.2.3.5") }
    // Removed by hand: the one that is locked guards nothing any more.
    try Files.remove("\(f.path)/lock")
    #expect(try f.registry.renew(lease).subnets == lease.subnets)
    _ = consume lock
  }

  @Test func unusableDirectoryIsNamed() throws {
    let f = try RegistryFixture()
    try f.directory.write("a file", to: "reg/subnets")
    #expect(
      #expect(throws: RegistryError.self) { try f.acquire("1.2.3.4") }?.description
        == "mkdir \(f.path)/subnets: file exists")
    try Files.remove("\(f.path)/subnets")
    try f.directory.write("a file", to: "reg/.tmp")
    #expect(
      #expect(throws: RegistryError.self) { try f.acquire("1.2.3.4") }?.description
        == "mkdir \(f.path)/.tmp: file exists")
    try Files.remove("\(f.path)/.tmp")
    try Files.makeDirectory("\(f.path)/lock")
    #expect(
      #expect(throws: RegistryError.self) { try f.acquire("1.2.3.4") }?.description
        == "open \(f.path)/lock: is a directory")
    #expect(try f.keys.isEmpty && f.leftovers.isEmpty)
  }

  /// A full disk and a read-only one, on a tiny file system of the test's own.
  @Test(.needsRoot) func fullAndReadOnlyFileSystems() throws {
    let f = try RegistryFixture()
    let name = f.directory.file("disk")
    try Files.makeDirectory(name)
    #expect(mount("tmpfs", name, "tmpfs", 0, "size=64k,nr_inodes=12") == 0)
    defer { umount2(name, Int32(MNT_DETACH)) }
    let registry = DirectoryRegistry(path: name + "/reg") { _ in }
    let configuration = try f.registry.configuration()
    func acquire(_ ip: String) throws(RegistryError) -> Lease {
      try registry.acquire(RegistryFixture.attributes(ip), configuration: configuration)
    }
    let lease = try acquire("1.2.3.4")
    let filler = try FileDescriptor.open(name + "/filler", O_CREAT | O_WRONLY, mode: 0o600)
    #expect(throws: SystemError.self) { while true { try filler.write([UInt8](repeating: 1, count: 4096)) } }
    let full = #expect(throws: RegistryError.self) { try acquire("1.2.3.5") }
    #expect(full?.description.hasPrefix("write \(name)/reg/.tmp/10.3.") == true)
    #expect(full?.description.hasSuffix(": no space left on device") == true)
    #expect(try Files.list(name + "/reg/.tmp").isEmpty && Files.list(name + "/reg/subnets").count == 1)
    #expect(try registry.renew(lease).subnets == lease.subnets, "renewing needs no space")

    _ = consume filler
    #expect(mount("tmpfs", name, nil, UInt(MS_REMOUNT | MS_RDONLY), nil) == 0)
    let readOnly = #expect(throws: RegistryError.self) { try acquire("1.2.3.5") }
    #expect(readOnly?.description.hasSuffix(": read-only file system") == true)
    #expect(readOnly?.description.contains(name) == true)
    #expect(
      #expect(throws: RegistryError.self) { try registry.renew(lease) }?.description
        == "touch \(name)/reg/subnets/\(lease.key): read-only file system")
  }

  @Test func agentsStartedAtOnceNeverShareASubnet() throws {
    let f = try RegistryFixture(#"{"Network":"10.3.0.0/16","SubnetMin":"10.3.1.0","SubnetMax":"10.3.40.0"}"#)
    let path = f.path
    let results = Threads.run(32) { i in
      // Each has a registry, descriptors and a lock of its own, as processes do.
      let registry = DirectoryRegistry(path: path) { _ in }
      var leases: [Lease] = []
      for _ in 0..<3 {
        guard let configuration = try? registry.configuration(),
          let lease = try? registry.acquire(
            RegistryFixture.attributes("7.7.7.\(i)"), configuration: configuration,
            previous: PerFamily(ipv4: IPPrefix("10.3.9.0/24")))
        else { return [Lease]() }
        leases.append(lease)
      }
      return leases
    }
    #expect(results.allSatisfy { $0.count == 3 && Set($0.map(\.subnets)).count == 1 })
    let subnets = results.compactMap { $0.first?.subnet(.ipv4) }
    #expect(Set(subnets).count == 32, "no subnet is given out twice")
    #expect(try f.keys.count == 32 && f.leftovers.isEmpty)
    #expect(subnets.contains(try #require(IPPrefix("10.3.9.0/24"))))
  }
}

/// Real threads for code that blocks.
enum Threads {
  private final class Work {
    let run: () -> Void
    init(_ run: @escaping () -> Void) { self.run = run }
  }

  /// Runs the body on so many threads at once and returns what they returned, by number.
  static func run<R: Sendable>(_ count: Int, _ body: @escaping @Sendable (Int) -> R) -> [R] {
    nonisolated(unsafe) let out = UnsafeMutablePointer<R?>.allocate(capacity: count)
    out.initialize(repeating: nil, count: count)
    defer {
      out.deinitialize(count: count)
      out.deallocate()
    }
    var threads: [pthread_t] = []
    for i in 0..<count {
      let work = Unmanaged.passRetained(Work { out[i] = body(i) })
      var thread = pthread_t()
      let made = pthread_create(
        &thread, nil,
        { argument in
          guard let argument else { return nil }
          Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().run()
          return nil
        }, work.toOpaque())
      if made == 0 { threads.append(thread) } else { work.release() }
    }
    for thread in threads { pthread_join(thread, nil) }
    return (0..<count).compactMap { out[$0] }
  }
}
