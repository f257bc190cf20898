import Glibc
import NetTypes
import Netlink
import Syscalls
import TestSupport
import Testing

/// What a refused transaction says: a person must find the one thing among thousands that the kernel did not take.
@Suite(.needsRoot) struct NftablesRefusalTests {
  let id = NftTable.ID(.ipv4, "t")
  let ns: TestNamespace

  init() throws {
    ns = try TestNamespace("nftno")
    try ns.nftLoad(
      """
      table ip t {
        chain c { }
        chain f { type filter hook forward priority 0; jump c; }
        map m { type ipv4_addr : mark; elements = { 10.0.0.7 : 0x1 } }
        map v { type mark : verdict; }
        set i { type inet_service; flags interval; elements = { 100-200 } }
      }
      """)
  }

  /// The error of a transaction; the rule set must be as before.
  private func refusal(_ body: (inout NftBatch) -> Void) throws -> String {
    let before = try ns.nftObjects()
    var socket = try ns.nftSocket()
    var batch = NftBatch()
    body(&batch)
    do {
      try socket.commit(batch)
      return "done"
    } catch {
      #expect(try ns.nftObjects() == before)
      return "\(error)"
    }
  }

  private func rule(_ steps: NftExpression..., comment: String? = nil) -> NftRule {
    NftRule(id, "c", steps, comment: comment)
  }

  @Test func stepsOfRules() throws {
    let text = try refusal {
      $0.append(rule(.verdict(.accept)))
      $0.append(rule(.counter(packets: 0, bytes: 0), .verdict(.jump("nowhere")), comment: "third"))
    }
    #expect(text == #"add rule ip t c ("third") [counter immediate]: jump to chain nowhere: no such file or directory"#)
    let set = try refusal {
      $0.append(
        rule(
          .meta(.mark, .r1), .lookup(set: "none", key: .r1, to: nil, verdict: false, inverted: false),
          .verdict(.drop)))
    }
    #expect(set == "add rule ip t c [meta lookup immediate]: lookup in set none: no such file or directory")
    let match = try refusal {
      $0.append(rule(.compatibility(isTarget: false, name: "nonesuch", revision: 3, info: [0])))
    }
    #expect(match.hasPrefix("add rule ip t c [match]: match nonesuch, revision 3: "), "\(match)")
    let unknown = try refusal { $0.append(rule(.other(name: "nonesuch", []))) }
    #expect(unknown.hasPrefix("add rule ip t c [nonesuch]: expression nonesuch: "), "\(unknown)")
    // Translation belongs into chains of type nat.
    let nat = try refusal { $0.append(rule(.masquerade([]))) }
    #expect(nat.hasSuffix(": operation not supported"), "\(nat)")
  }

  @Test func oneElementOfThousands() throws {
    let many = (0..<9_000).map { i in
      NftElement(key: IPAddress(.ipv4, 0x0b00_0000 + UInt128(i)).bytes, value: .data([1, 0, 0, 0]))
    }
    let exists = try refusal {
      $0.add(many + [NftElement(key: [10, 0, 0, 7], value: .data([2, 0, 0, 0]))] + many, to: "m", of: id)
    }
    #expect(exists.hasPrefix("add elements ip t m: element 0x0a000007: "), "\(exists)")
    let missing = try refusal { $0.delete([NftElement(key: [10, 0, 0, 7]), many[5]], from: "m", of: id) }
    #expect(missing.hasPrefix("delete elements ip t m: element 0x0b000005: no such"), "\(missing)")
    let target = try refusal {
      $0.add(
        [
          NftElement(key: [1, 0, 0, 0], value: .verdict(.accept)),
          NftElement(key: [2, 0, 0, 0], value: .verdict(.goto("nowhere"))),
        ], to: "v", of: id)
    }
    #expect(target.hasPrefix("add elements ip t v: element 0x02000000 (to chain nowhere): no such"), "\(target)")
    let overlap = try refusal {
      $0.add([NftElement(key: [0, 150]), NftElement(key: [1, 44], isIntervalEnd: true)], to: "i", of: id)
    }
    #expect(overlap.hasPrefix("add elements ip t i: element 0x0096: "), "\(overlap)")
  }

  /// The kernel answers every message that fails; with many the answers do not fit, and the first is what counts.
  @Test func thousandsOfRefusals() throws {
    let text = try refusal {
      for i in 0..<20_000 { $0.deleteRule(id, "c", handle: UInt64(1_000_000 + i)) }
    }
    #expect(text == "delete rule ip t c: no such file or directory")
    var socket = try ns.nftSocket()
    #expect(try socket.chains(id).count == 2, "a new exchange works")
  }

  /// Loops are found when all is done: the kernel names no message then.
  @Test func loops() throws {
    let text = try refusal {
      $0.add(NftChain(id, "d"))
      $0.append(rule(.verdict(.jump("d"))))
      $0.append(NftRule(id, "d", [.verdict(.jump("c"))]))
    }
    #expect(text.hasSuffix("too many levels of symbolic links") || text.hasSuffix("too many links"), "\(text)")
  }

  @Test func ownedTable() throws {
    var owner = try ns.nftSocket()
    let theirs = NftTable.ID(.ipv4, "theirs")
    var batch = NftBatch()
    batch.add(NftTable(theirs, flags: 2))
    try owner.commit(batch)
    var socket = try ns.nftSocket()
    #expect(try socket.table(theirs)?.owner == owner.portID)
    var change = NftBatch()
    change.add(NftChain(theirs, "c"))
    do {
      try socket.commit(change)
      Issue.record("a table of another program was changed")
    } catch { #expect("\(error)" == "add chain ip theirs c: operation not permitted") }
    #expect(try socket.chains(theirs).isEmpty)
  }

  @Test func withoutCapability() throws {
    let path = ns.path
    let texts = try ns.open().run { () throws(SystemError) -> [String] in
      dropNetAdmin()
      var out: [String] = []
      do {
        var socket = try NftSocket()
        do { _ = try socket.tables() } catch { out.append("\(error)") }
        var batch = NftBatch()
        batch.add(NftTable(NftTable.ID(.ipv4, "t")))
        do { try socket.commit(batch) } catch { out.append("\(error)") }
      } catch { out.append("\(path): \(error)") }
      return out
    }
    #expect(
      texts == [
        "list tables (needs CAP_NET_ADMIN): operation not permitted",
        "change the rule set (needs CAP_NET_ADMIN): operation not permitted",
      ])
  }
}

/// Takes `CAP_NET_ADMIN` from the calling thread.
private func dropNetAdmin() {
  // _LINUX_CAPABILITY_VERSION_3, the calling thread; three words for each half of the capabilities.
  var header: (UInt32, Int32) = (0x2008_0522, 0)
  var sets: (UInt32, UInt32, UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0, 0, 0)
  _ = withUnsafeMutablePointer(to: &header) { h in
    withUnsafeMutablePointer(to: &sets) { s in
      _ = capget(h, s)
      s.pointee.0 &= ~(1 << 12)
      return capset(h, s)
    }
  }
}

@_silgen_name("capget") private func capget(_ header: UnsafeMutableRawPointer, _ sets: UnsafeMutableRawPointer) -> Int32
@_silgen_name("capset") private func capset(_ header: UnsafeMutableRawPointer, _ sets: UnsafeMutableRawPointer) -> Int32
