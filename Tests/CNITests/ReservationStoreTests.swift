import Glibc
import JSON
import NetTypes
import Syscalls
import TestSupport
import Testing

@testable import CNI

@Suite struct ReservationStoreTests {
  let dir: TemporaryDirectory
  let ours: PluginCall
  init() throws {
    dir = try TemporaryDirectory("store")
    ours = PluginCall(HostLocalPlugin())
  }

  func config(_ subnet: String = "10.1.0.0/22", _ version: String = "0.4.0") -> String {
    #"{"cniVersion":"\#(version)","name":"n","ipam":{"type":"host-local","dataDir":"\#(dir.path)","#
      + #""ranges":[[{"subnet":"\#(subnet)"}]]}}"#
  }
  var network: String { "\(dir.path)/n" }
  func with(_ id: String, _ command: String = "ADD", _ config: String? = nil) -> PluginMain.Outcome {
    var c = ours
    c.id = id
    return c(config ?? self.config(), command)
  }
  var names: [String] { ((try? Files.list(network)) ?? []).filter { IPAddress($0) != nil }.sorted() }
  /// True when the index counts for the directory as it is.
  var indexIsValid: Bool {
    guard let bytes = try? Files.read("\(network)/.weft-index"), let time = try? Files.status(network).modified else {
      return false
    }
    return ReservationIndex(bytes, directoryTime: time) != nil
  }

  @Test func indexFindsRemovesAndReuses() throws {
    var index = ReservationIndex()
    let a = try #require(IPAddress("10.0.0.1"))
    let b = try #require(IPAddress("fd00::1"))
    index.insert(a, 7)
    index.insert(b, 7)
    index.insert(a, 8)
    #expect(index.addresses(of: 7) == [a, b])
    index.remove(a, 7)
    #expect(index.addresses(of: 7) == [b])
    #expect(index.addresses(of: 8) == [a])
    let size = index.bytes.count
    index.insert(a, 9)
    #expect(index.bytes.count == size)
    index.stamp(-5)
    #expect(ReservationIndex(index.bytes, directoryTime: -5)?.addresses(of: 9) == [a])
    #expect(ReservationIndex(index.bytes, directoryTime: -6) == nil)
    #expect(ReservationIndex(Array(index.bytes.dropLast()), directoryTime: -5) == nil)
    #expect(ReservationIndex([], directoryTime: 0) == nil)
  }

  @Test func indexStaysValidThroughOurChangesOnly() throws {
    for i in 0..<5 { #expect(with("c\(i)").exitCode == 0) }
    #expect(indexIsValid)
    #expect(with("c1", "DEL").exitCode == 0)
    #expect(indexIsValid)
    #expect(with("c0").exitCode == 1)
    #expect(indexIsValid)
    try dir.write("foreign\r\neth0", to: "n/10.1.0.99", mode: 0o600)
    #expect(!indexIsValid)
    #expect(with("foreign").message?.contains("10.1.0.99 has been allocated to foreign") == true)
    #expect(with("foreign", "DEL").exitCode == 0)
    #expect(!names.contains("10.1.0.99"))
    #expect(indexIsValid)
  }

  /// What the index says is compared with the file: a lie in it does no harm.
  @Test func aWrongIndexIsHarmless() throws {
    _ = with("a")
    _ = with("b")
    var index = ReservationIndex()
    let time = try Files.status(network).modified
    index.insert(try #require(IPAddress("10.1.0.3")), ReservationIndex.hash(.init(containerID: "a", ifname: "eth0")))
    index.stamp(time)
    // In place, so that the directory keeps its time.
    let file = try FileDescriptor.open("\(network)/.weft-index", O_WRONLY | O_TRUNC)
    try file.write(index.bytes)
    #expect(indexIsValid)
    #expect(with("a", "DEL").exitCode == 0)
    #expect(names == ["10.1.0.3"])
  }

  @Test(arguments: [[], [1, 2, 3], [UInt8](repeating: 0xff, count: 100), [UInt8](repeating: 0, count: 1 << 16)])
  func aDamagedIndexIsMadeAnew(bytes: [UInt8]) throws {
    _ = with("a")
    try FileDescriptor.open("\(network)/.weft-index", O_WRONLY | O_TRUNC).write(bytes)
    #expect(with("a").message?.contains("duplicate") == true)
    #expect(with("b").addresses == ["10.1.0.3/22"])
    #expect(indexIsValid)
  }

  @Test func anIndexThatCannotBeOpenedIsDoneWithout() throws {
    try Files.makeDirectory("\(network)/.weft-index")
    #expect(with("a").addresses == ["10.1.0.2/22"])
    #expect(with("a").message?.contains("duplicate") == true)
    #expect(with("a", "DEL").exitCode == 0)
    #expect(names.isEmpty)
  }

  /// Trap 14: a crash of the reference plugin leaves an empty file that blocks its address for ever.
  @Test func emptyFilesFromBeforeTheBootAreTakenOver() throws {
    let small = config("10.1.0.0/30")
    let path = try dir.write("", to: "n/10.1.0.2")
    #expect(with("a", "ADD", small).message?.contains("no IP addresses available") == true)
    var times = [timespec(tv_sec: 1_000_000, tv_nsec: 0), timespec(tv_sec: 1_000_000, tv_nsec: 0)]
    #expect(utimensat(AT_FDCWD, path, &times, 0) == 0)
    #expect(with("a", "ADD", small).addresses == ["10.1.0.2/30"])
    #expect(with("a", "DEL", small).exitCode == 0)
    try dir.write("", to: "n/10.1.0.2")
    #expect(utimensat(AT_FDCWD, path, &times, 0) == 0)
    var wish = ours
    wish.id = "b"
    wish.args = "IP=10.1.0.2"
    #expect(wish(small).addresses == ["10.1.0.2/30"])
  }

  @Test func contentOfAFileIsReadAsTheReferenceDoes() throws {
    try dir.write(" a\r\neth0\n", to: "n/10.1.0.2")
    try dir.write("a\neth0", to: "n/10.1.0.3")
    try dir.write("a\r\neth0", to: "n/not-an-address")
    #expect(with("a", "DEL").exitCode == 0)
    #expect(names == ["10.1.0.3"])
    #expect(Files.exists("\(network)/not-an-address"))
  }

  /// A process that dies between any two steps leaves no address file that is empty or in part, and no second one for
  /// the next try of the same attachment.
  @Test(.needsRoot) func killedAtRandomMoments() throws {
    let program = try hostLocal()
    for i in 0..<40 {
      let child = try start(program, "k\(i)", "ADD")
      Clock.sleep(nanoseconds: Int64.random(in: 0...4_000_000))
      child.signal(SIGKILL)
      _ = try child.wait()
    }
    for name in names { #expect(try Files.text("\(network)/\(name)").hasSuffix("\r\neth0")) }
    for i in 0..<40 { #expect(with("k\(i)", "DEL").exitCode == 0) }
    #expect(names.isEmpty)
    #expect(with("after").exitCode == 0)
  }

  @Test func sixtyFourProcessesGetSixtyFourAddresses() throws {
    let program = try hostLocal()
    let children = try (0..<64).map { try start(program, "p\($0)", "ADD") }
    for c in children { #expect(try c.wait().isSuccess) }
    #expect(names.count == 64)
    let holders = Set(try names.map { try Files.text("\(network)/\($0)") })
    #expect(holders == Set((0..<64).map { "p\($0)\r\neth0" }))
    #expect(indexIsValid)
    let gone = try (0..<64).map { try start(program, "p\($0)", "DEL") }
    for c in gone { #expect(try c.wait().isSuccess) }
    #expect(names.isEmpty)
  }

  static let reference = "/usr/lib/cni/host-local"

  /// The reference plugin and ours on one directory, in turn.
  @Test(.enabled(if: Files.isExecutable(reference), "needs the reference host-local of Debian"))
  func sharesItsDirectoryWithTheReferencePlugin() throws {
    for i in 0..<8 {
      if i % 2 == 0 {
        #expect(with("o\(i)").addresses == ["10.1.0.\(i + 2)/22"])
      } else {
        let out = try run(Self.reference, "g\(i)", "ADD")
        #expect(out.exit.isSuccess, "\(out.text)")
        #expect(out.text.contains("10.1.0.\(i + 2)/22"))
      }
    }
    // Both refuse the other's containers a second address.
    #expect(try run(Self.reference, "o0", "ADD").text.contains("10.1.0.2 has been allocated to o0"))
    #expect(with("g1").message?.contains("10.1.0.3 has been allocated to g1") == true)
    #expect(try run(Self.reference, "o0", "CHECK").exit.isSuccess)
    #expect(with("g1", "CHECK").exitCode == 0)
    // Each releases what the other reserved.
    #expect(try run(Self.reference, "o0", "DEL").exit.isSuccess)
    #expect(with("g1", "DEL").exitCode == 0)
    #expect(names == (4...9).map { "10.1.0.\($0)" })
    #expect(with("o2", "CHECK").exitCode == 0)
    for i in 0..<8 { #expect(with(i % 2 == 0 ? "o\(i)" : "g\(i)", "DEL").exitCode == 0) }
    #expect(names.isEmpty)
  }

  @Test(
    .enabled(if: Files.isExecutable(reference), "needs the reference host-local of Debian"),
    arguments: [
      "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0",
    ])
  func printsWhatTheReferencePrints(version: String) throws {
    let c = config("10.1.0.0/24", version)
    let theirs = try run(Self.reference, "a", "ADD", c)
    #expect(with("a", "DEL", c).exitCode == 0)
    unlink("\(network)/last_reserved_ip.0")
    #expect(with("a", "ADD", c).text == theirs.text)
  }

  // MARK: Programs

  func hostLocal() throws -> String {
    let link = "\(dir.path)/host-local"
    if !Files.exists(link) { symlink(try builtProduct("weft-cni"), link) }
    return link
  }
  func environment(_ id: String, _ command: String) -> [String] {
    var c = ours
    c.id = id
    c.command = command
    return c.environment.entries
  }
  func run(_ program: String, _ id: String, _ command: String, _ config: String? = nil) throws -> ChildProcess.Output {
    try ChildProcess.run(
      program, environment: environment(id, command), input: Array((config ?? self.config()).utf8))
  }
  func start(_ program: String, _ id: String, _ command: String) throws -> ChildProcess {
    let input = dir.file("config-\(id)-\(command)")
    try Files.writeAtomically(Array(config().utf8), to: input, mode: 0o600, durable: false)
    let stdin = try FileDescriptor.open(input, O_RDONLY)
    return try ChildProcess.start(program, [], environment: environment(id, command), stdin: stdin.number)
  }
}
