import Glibc
import NetTypes
import Netlink
import Syscalls
import TestSupport
import Testing

/// What the kernel makes of batches, and what it tells about them.
@Suite(.needsRoot) struct NftablesTransactionTests {
  let id = NftTable.ID(.ipv4, "t")

  private func hosts(_ range: Range<UInt32>) -> [NftElement] {
    range.map { i in
      NftElement(
        key: IPAddress(.ipv4, UInt128(0x0a00_0000 + i)).bytes,
        value: .data(IPAddress(.ipv4, UInt128(0x0b00_0000 + i)).bytes))
    }
  }

  @Test func allOrNothing() throws {
    let ns = try TestNamespace("nfttx")
    var socket = try ns.nftSocket()
    var batch = NftBatch()
    batch.add(NftTable(id))
    batch.add(NftChain(id, "kept"))
    try socket.commit(batch)
    let before = try ns.nftObjects()

    var refused = NftBatch()
    refused.add(NftChain(id, "first"))
    refused.flush(id, "kept")
    refused.append(NftRule(id, "kept", [.verdict(.jump("nowhere"))], comment: "the bad one"))
    refused.add(NftChain(id, "last"))
    #expect(refused.count == 4)
    do {
      try socket.commit(refused)
      Issue.record("the kernel took a jump to nowhere")
    } catch {
      #expect(error.errno == .noEntry)
      let text = #"add rule ip t kept ("the bad one") [immediate]: jump to chain nowhere: "#
      #expect(error.description.hasPrefix(text), "\(error)")
    }
    #expect(try ns.nftObjects() == before)

    // The socket goes on.
    try socket.commit(NftBatch())
    var good = NftBatch()
    good.add(NftChain(id, "first"))
    try socket.commit(good)
    #expect(try socket.chains(id).map(\.name) == ["kept", "first"])
  }

  /// Each kind of object is named in the refusal.
  @Test func refusalsNameTheObject() throws {
    let ns = try TestNamespace("nftref")
    var socket = try ns.nftSocket()
    try ns.nftLoad("table ip t { chain c { }; chain u { jump c; }; set s { type ipv4_addr; }; }")
    func refusal(_ body: (inout NftBatch) -> Void) -> String {
      var batch = NftBatch()
      body(&batch)
      do {
        try socket.commit(batch)
        return "done"
      } catch { return "\(error)" }
    }
    let none = NftTable.ID(.ipv6, "none")
    let base = NftChain.Base(type: "nat", hook: .forward, priority: 0)
    for (text, prefix) in [
      (refusal { $0.delete(none) }, "delete table ip6 none: "),
      (refusal { $0.add(NftChain(none, "c")) }, "add chain ip6 none c: "),
      (refusal { $0.add(NftChain(id, "x", base: base)) }, "add chain ip t x: "),
      (refusal { $0.deleteChain(id, "c") }, "delete chain ip t c: "),
      (refusal { $0.deleteRule(id, "c", handle: 99) }, "delete rule ip t c: "),
      (refusal { $0.add(NftSet(none, "s", key: [.mark])) }, "add set ip6 none s: "),
      (refusal { $0.deleteSet(id, "none") }, "delete set ip t none: "),
      (refusal { $0.add([NftElement(key: [1, 2, 3])], to: "s", of: id) }, "add elements ip t s: "),
      (refusal { $0.delete([NftElement(key: [1, 2, 3, 4])], from: "s", of: id) }, "delete elements ip t s: "),
    ] {
      #expect(text.hasPrefix(prefix), "\(text)")
    }
  }

  @Test func rulesAreInsertedReplacedAndDeleted() throws {
    let ns = try TestNamespace("nftpos")
    var socket = try ns.nftSocket()
    func rule(_ mark: UInt8, handle: UInt64 = 0) -> NftRule {
      NftRule(id, "c", [.immediate(.r1, [mark, 0, 0, 0]), .setMeta(.mark, .r1)], comment: "\(mark)", handle: handle)
    }
    func comments() throws -> [String] { try socket.rules(id, chain: "c").map { $0.comment ?? "" } }
    func commit(_ body: (inout NftBatch) -> Void) throws {
      var batch = NftBatch()
      body(&batch)
      try socket.commit(batch)
    }
    try commit {
      $0.add(NftTable(id))
      $0.add(NftChain(id, "c"))
      $0.append(rule(2))
      $0.append(rule(4))
      $0.prepend(rule(1))
    }
    #expect(try comments() == ["1", "2", "4"])
    let four = try #require(try socket.rules(id, chain: "c").last).handle
    try commit { $0.insert(rule(3), before: four) }
    #expect(try comments() == ["1", "2", "3", "4"])
    let two = try socket.rules(id, chain: "c")[1].handle
    try commit { $0.replace(rule(9, handle: two)) }
    #expect(try comments() == ["1", "9", "3", "4"])
    try commit { $0.deleteRule(id, "c", handle: four) }
    #expect(try comments() == ["1", "9", "3"])
    let text = try ns.nftList()
    #expect(text.split(separator: "\n").filter { $0.hasPrefix("\t\tmeta mark set") }.count == 3)
    try commit {
      $0.flush(id, "c")
      $0.deleteChain(id, "c")
    }
    #expect(try socket.chain(id, "c") == nil)
    try commit { $0.delete(id) }
    #expect(try ns.nftObjects().isEmpty)
  }

  @Test func staleGenerationIsRefused() throws {
    let ns = try TestNamespace("nftgen")
    var socket = try ns.nftSocket()
    let old = try socket.generation()
    try ns.nftLoad("table ip other { }")
    let now = try socket.generation()
    #expect(old != now)
    var batch = NftBatch(generation: old)
    batch.add(NftTable(id))
    do {
      try socket.commit(batch)
      Issue.record("a stale transaction was carried out")
    } catch { #expect(error.isOutdated, "\(error)") }
    #expect(try socket.table(id) == nil)
    var again = NftBatch(generation: now)
    again.add(NftTable(id))
    try socket.commit(again)
    #expect(try socket.table(id) != nil)
  }

  /// More elements than fit in an attribute of netlink, and a datagram larger than the usual send buffer.
  @Test func thirtyThousandElements() throws {
    let ns = try TestNamespace("nftbig")
    var socket = try ns.nftSocket()
    let all = hosts(0..<30_000)
    var batch = NftBatch()
    batch.add(NftTable(id))
    batch.add(NftSet(id, "m", key: [.ipv4Address], data: [.ipv4Address]))
    batch.add(all, to: "m", of: id)
    #expect(batch.count > 30)
    try socket.commit(batch)
    #expect(Set(try socket.elements(of: "m", id)) == Set(all))
    let listed = try ns.checked("/usr/sbin/nft", ["list", "map", "ip", "t", "m"]).text
    #expect(listed.split(separator: " ").filter { $0 == ":" }.count == 30_000 + 1, "one more in the type")

    // A refusal at the very end undoes all of it.
    var bad = NftBatch()
    bad.delete(Array(all.prefix(20_000)), from: "m", of: id)
    bad.add(hosts(40_000..<60_000), to: "m", of: id)
    bad.add([NftElement(key: all[29_999].key, value: .data([1, 1, 1, 1]))], to: "m", of: id)
    do {
      try socket.commit(bad)
      Issue.record("an element got a second value")
    } catch { #expect(error.description.hasPrefix("add elements ip t m: "), "\(error)") }
    #expect(try socket.elements(of: "m", id).count == 30_000)
    var removal = NftBatch()
    removal.delete(Array(all.dropFirst(1)), from: "m", of: id)
    try socket.commit(removal)
    #expect(try socket.elements(of: "m", id) == [all[0]])
  }

  // MARK: monitor

  /// Reads until `isWanted` accepts an event, or 20 seconds have passed.
  private func wait(_ monitor: inout NftMonitor, for isWanted: (NftEvent) -> Bool) throws -> Bool {
    let end = Clock.monotonic() + 20_000_000_000
    var found = false
    while !found, Clock.monotonic() < end {
      var set = [pollfd(fd: monitor.descriptor, events: Int16(POLLIN), revents: 0)]
      _ = poll(&set, 1, 500)
      try monitor.read { if isWanted($0) { found = true } }
    }
    return found
  }

  @Test func monitorHearsEveryKindOfChange() throws {
    let ns = try TestNamespace("nftmon")
    let other = try TestNamespace("nftmon")
    var monitor = try NftMonitor(in: ns.open())
    try other.nftLoad("table ip elsewhere { }")
    /// Everything up to the end of the transaction.
    func heard(_ text: String) throws -> [NftEvent] {
      try ns.nftLoad(text)
      var events: [NftEvent] = []
      let isComplete = try wait(&monitor) { event in
        if case .generation(_, _, let program) = event {
          #expect(program == "nft")
          return true
        }
        events.append(event)
        return false
      }
      #expect(isComplete, "\(text)")
      return events
    }
    #expect(try heard("add table ip t") == [.table(id, removed: false)])
    #expect(try heard("add chain ip t c") == [.chain(id, "c", removed: false)])
    #expect(try heard("add set ip t s { type ipv4_addr; }") == [.set(id, "s", removed: false)])
    #expect(try heard("add element ip t s { 10.0.0.1 }") == [.elements(id, "s", removed: false)])
    #expect(try heard("delete element ip t s { 10.0.0.1 }") == [.elements(id, "s", removed: true)])
    #expect(try heard("add rule ip t c accept") == [.rule(id, "c", removed: false)])
    #expect(try heard("flush chain ip t c") == [.rule(id, "c", removed: true)])
    #expect(try heard("delete set ip t s") == [.set(id, "s", removed: true)])
    #expect(try heard("delete chain ip t c") == [.chain(id, "c", removed: true)])
    _ = try heard("add table ip6 u\nadd chain ip6 u d")
    let flushed = Set(try heard("flush ruleset"))
    let six = NftTable.ID(.ipv6, "u")
    #expect(flushed == [.table(id, removed: true), .chain(six, "d", removed: true), .table(six, removed: true)])
  }

  @Test func monitorLeavesOutOurOwnChanges() throws {
    let ns = try TestNamespace("nftown")
    var monitor = try NftMonitor(in: ns.open())
    var socket = try ns.nftSocket()
    monitor.ignore(port: socket.portID)
    var batch = NftBatch()
    batch.add(NftTable(id))
    try socket.commit(batch)
    try ns.nftLoad("add table ip theirs")
    var tables: [NftTable.ID?] = []
    #expect(
      try wait(&monitor) { event in
        if event.table != nil { tables.append(event.table) }
        return event.table?.name == "theirs"
      })
    #expect(tables == [NftTable.ID(.ipv4, "theirs")])
  }

  @Test func monitorReportsOverflow() throws {
    let ns = try TestNamespace("nftover")
    var monitor = try NftMonitor(in: ns.open(), receiveBuffer: 32_768)
    var socket = try ns.nftSocket()
    for i in 0..<200 {
      var batch = NftBatch()
      batch.add(NftTable(NftTable.ID(.ipv4, "t\(i)")))
      for j in 0..<20 { batch.add(NftChain(NftTable.ID(.ipv4, "t\(i)"), "c\(j)")) }
      try socket.commit(batch)
    }
    var overflows = 0
    try monitor.read { if $0 == .overflow { overflows += 1 } }
    #expect(overflows >= 1)
    var last = NftBatch()
    last.add(NftTable(id))
    try socket.commit(last)
    #expect(try wait(&monitor) { $0 == .table(id, removed: false) }, "goes on after an overflow")
  }
}
