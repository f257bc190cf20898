import NetTypes
import Testing

@testable import Netlink

/// Requests as nft 1.0.6 sends them: captured bytes behind the message header, with the command. Each is parsed into our
/// value, and our value is encoded into the same attributes; nft puts some of them in another order.
@Suite struct NftRequestTests {
  /// A request of nf_tables as a value.
  enum Request: Hashable {
    case table(NftTable)
    case chain(NftChain)
    case rule(NftRule)
    case set(NftSet)
    case elements(NftTable.ID, String, [NftElement])

    /// Read from a message.
    init?(_ message: borrowing Message) {
      let found: Request? =
        switch message.type & 0xff {
        case NftMessage.newTable: NftTable(message).map { .table($0) }
        case NftMessage.newChain: NftChain(message).map { .chain($0) }
        case NftMessage.newRule: NftRule(message).map { .rule($0) }
        case NftMessage.newSet: NftSet(message).map { .set($0) }
        case NftMessage.newElement:
          if case .elements(let id, let set, _)? = NftEvent(message) {
            .elements(id, set, NftElement.list(message))
          } else {
            nil
          }
        default: nil
        }
      guard let found else { return nil }
      self = found
    }

    func record(in batch: inout NftBatch) {
      switch self {
      case .table(let t): batch.add(t)
      case .chain(let c): batch.add(c)
      case .rule(let r): batch.append(r)
      case .set(let s): batch.add(s)
      case .elements(let table, let set, let list): batch.add(list, to: set, of: table)
      }
    }
  }

  let t = NftTable.ID(.ipv4, "t")

  // Attributes that only one of us sends, by their path: the kernel assumes the same without them.
  // 4.1[n].2.6 of bitwise: the operation 0; 4.1[n].2.4 of lookup, 4.1[n].2.2 of dynset, 10 of a set, 4 of elements: the
  // number of a set in the transaction, beside its name; 13 of a set: how nft prints it.

  /// What nft sent for a command parses into `request`, and `request` is encoded into the same attributes, except for
  /// those at the paths `except`.
  private func check(
    _ type: UInt16, _ body: String, is request: Request, except: Set<String> = [],
    at location: SourceLocation = #_sourceLocation
  ) {
    let theirs = bytes(body)
    let number = NftMessage.type(type)
    let header = withUnsafeBytes(of: (UInt32(16 + theirs.count), number, UInt16(0), UInt32(1), UInt32(0))) { Array($0) }
    var parsed: Request?
    forEachMessage(header + theirs) { parsed = Request($0) }
    #expect(parsed == request, sourceLocation: location)

    var batch = NftBatch()
    request.record(in: &batch)
    var ours: [UInt8] = []
    forEachMessage(array(batch.writer.buffer.bytes)) { message in
      if message.type == number { ours = array(message.payload) }
    }
    #expect(ours.prefix(4) == theirs.prefix(4), "family", sourceLocation: location)
    func attributes(_ all: [UInt8]) -> [String] {
      attributeTexts(Array(all.dropFirst(4))).filter { line in !except.contains { line.hasPrefix($0) } }
    }
    #expect(attributes(ours) == attributes(theirs), sourceLocation: location)
  }

  // nft add table ip t { comment "rules for t"; }
  @Test func table() {
    check(
      0,
      """
      020000000600010074000000080002000000000012000600000c72756c657320666f722074000000
      """,
      is: .table(NftTable(t, comment: "rules for t")))
  }

  // nft add chain ip t post { type nat hook postrouting priority srcnat; policy accept; comment "chain to manage"; }
  @Test func baseChain() {
    check(
      3,
      """
      02000000060001007400000009000300706f737400000000080007006e617400080005000000000114000480080001000000000408000200
      0000006416000c000010636861696e20746f206d616e616765000000
      """,
      is: .chain(
        NftChain(
          t, "post", base: NftChain.Base(type: "nat", hook: .postrouting, priority: 100), comment: "chain to manage")))
  }

  // nft add chain ip t c
  @Test func chain() {
    check(
      3,
      """
      0200000006000100740000000600030063000000
      """,
      is: .chain(NftChain(t, "c")))
  }

  // nft add rule ip t post meta mark & 0x4000 == 0x4000 return
  @Test func mark() {
    check(
      6,
      """
      02000000060001007400000009000200706f737400000000d000048024000180090001006d65746100000000140002800800020000000003
      08000100000000014c0001800c00010062697477697365003c00028008000100000000010800020000000001080006000000000008000300
      000000040c00048008000100004000000c00058008000100000000002c00018008000100636d700020000280080001000000000108000200
      000000000c0003800800010000400000300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c000280
      08000100fffffffb
      """,
      is: .rule(
        NftRule(
          t, "post",
          [
            .meta(.mark, .r1), .bitwise(from: .r1, to: .r1, mask: [0, 0x40, 0, 0], xor: [0, 0, 0, 0]),
            .compare(.equal, .r1, [0, 0x40, 0, 0]), .verdict(.return),
          ])), except: ["4.1[1].2.6="])
  }

  // nft add rule ip t post ip saddr != 10.244.0.0/16 ip daddr 10.244.98.0/28 return comment "own pods"
  @Test func prefixes() {
    check(
      6,
      """
      02000000060001007400000009000200706f73740000000038010480340001800c0001007061796c6f616400240002800800010000000001
      0800020000000001080003000000000c08000400000000022c00018008000100636d70002000028008000100000000010800020000000001
      0c000380060001000af40000340001800c0001007061796c6f61640024000280080001000000000108000200000000010800030000000010
      0800040000000004440001800c0001006269747769736500340002800800010000000001080002000000000108000300000000040c000480
      08000100fffffff00c00058008000100000000002c00018008000100636d700020000280080001000000000108000200000000000c000380
      080001000af46200300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c00028008000100fffffffb
      0f00070000096f776e20706f64730000
      """,
      is: .rule(
        NftRule(
          t, "post",
          [
            .payload(.network, offset: 12, length: 2, .r1), .compare(.notEqual, .r1, [10, 244]),
            .payload(.network, offset: 16, length: 4, .r1),
            .bitwise(from: .r1, to: .r1, mask: [255, 255, 255, 240], xor: [0, 0, 0, 0]),
            .compare(.equal, .r1, [10, 244, 98, 0]), .verdict(.return),
          ], comment: "own pods")), except: ["4.1[3].2.6="])
  }

  // nft add rule ip t post ip saddr 10.244.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random
  @Test func masquerade() {
    check(
      6,
      """
      02000000060001007400000009000200706f73740000000024010480340001800c0001007061796c6f616400240002800800010000000001
      0800020000000001080003000000000c08000400000000022c00018008000100636d70002000028008000100000000010800020000000000
      0c000380060001000af40000340001800c0001007061796c6f61640024000280080001000000000108000200000000010800030000000010
      0800040000000004440001800c0001006269747769736500340002800800010000000001080002000000000108000300000000040c000480
      08000100f00000000c00058008000100000000002c00018008000100636d700020000280080001000000000108000200000000010c000380
      08000100e00000001c000180090001006d617371000000000c0002800800010000000010
      """,
      is: .rule(
        NftRule(
          t, "post",
          [
            .payload(.network, offset: 12, length: 2, .r1), .compare(.equal, .r1, [10, 244]),
            .payload(.network, offset: 16, length: 4, .r1),
            .bitwise(from: .r1, to: .r1, mask: [240, 0, 0, 0], xor: [0, 0, 0, 0]),
            .compare(.notEqual, .r1, [224, 0, 0, 0]), .masquerade(.fullyRandom),
          ])), except: ["4.1[3].2.6="])
  }

  // nft add rule ip t c fib daddr type local jump d
  @Test func localDestination() {
    check(
      6,
      """
      0200000006000100740000000600020063000000900004802800018008000100666962001c00028008000300000000020800020000000003
      08000100000000012c00018008000100636d700020000280080001000000000108000200000000000c000380080001000200000038000180
      0e000100696d6d656469617465000000240002800800010000000000180002801400028008000100fffffffd0600020064000000
      """,
      is: .rule(
        NftRule(
          t, "c",
          [.fib(.addressType, flags: 2, .r1), .compare(.equal, .r1, [2, 0, 0, 0]), .verdict(.jump("d"))])))
  }

  // nft add rule ip t c ct state established,related accept
  @Test func connectionState() {
    check(
      6,
      """
      0200000006000100740000000600020063000000c40004802000018007000100637400001400028008000200000000000800010000000001
      440001800c0001006269747769736500340002800800010000000001080002000000000108000300000000040c0004800800010006000000
      0c00058008000100000000002c00018008000100636d700020000280080001000000000108000200000000010c0003800800010000000000
      300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c0002800800010000000001
      """,
      is: .rule(
        NftRule(
          t, "c",
          [
            .tracking(.state, direction: nil, .r1),
            .bitwise(from: .r1, to: .r1, mask: [6, 0, 0, 0], xor: [0, 0, 0, 0]),
            .compare(.notEqual, .r1, [0, 0, 0, 0]), .verdict(.accept),
          ])), except: ["4.1[1].2.6="])
  }

  // nft add rule ip t c iifname "cni0" tcp dport 1000-2000 counter drop
  // nft leaves out counts that are zero.
  @Test func ports() {
    check(
      6,
      """
      02000000060001007400000006000200630000008001048024000180090001006d6574610000000014000280080002000000000608000100
      000000013800018008000100636d70002c000280080001000000000108000200000000001800038014000100636e69300000000000000000
      0000000024000180090001006d6574610000000014000280080002000000001008000100000000012c00018008000100636d700020000280
      080001000000000108000200000000000c0003800500010006000000340001800c0001007061796c6f616400240002800800010000000001
      0800020000000002080003000000000208000400000000022c00018008000100636d70002000028008000100000000010800020000000005
      0c0003800600010003e800002c00018008000100636d700020000280080001000000000108000200000000030c0003800600010007d00000
      140001800c000100636f756e7465720004000280300001800e000100696d6d6564696174650000001c000280080001000000000010000280
      0c0002800800010000000000
      """,
      is: .rule(
        NftRule(
          t, "c",
          [
            .meta(.inputName, .r1),
            .compare(.equal, .r1, Array("cni0".utf8) + [UInt8](repeating: 0, count: 12)),
            .meta(.transportProtocol, .r1), .compare(.equal, .r1, [6]),
            .payload(.transport, offset: 2, length: 2, .r1), .compare(.greaterOrEqual, .r1, [3, 0xe8]),
            .compare(.lessOrEqual, .r1, [7, 0xd0]), .counter(packets: 0, bytes: 0), .verdict(.drop),
          ])), except: ["4.1[7].2"])
  }

  // nft add rule ip t c reject with icmp port-unreachable
  @Test func reject() {
    check(
      6,
      """
      020000000600010074000000060002006300000028000480240001800b00010072656a656374000014000280080001000000000005000200
      03000000
      """,
      is: .rule(NftRule(t, "c", [.reject(type: 0, code: 3)])))
  }

  // nft add rule ip t c meta mark set mark or 0x4000
  @Test func setMark() {
    check(
      6,
      """
      02000000060001007400000006000200630000009800048024000180090001006d6574610000000014000280080002000000000308000100
      000000014c0001800c00010062697477697365003c0002800800010000000001080002000000000108000600000000000800030000000004
      0c00048008000100ffbfffff0c000580080001000040000024000180090001006d6574610000000014000280080002000000000308000300
      00000001
      """,
      is: .rule(
        NftRule(
          t, "c",
          [
            .meta(.mark, .r1), .bitwise(from: .r1, to: .r1, mask: [255, 0xbf, 255, 255], xor: [0, 0x40, 0, 0]),
            .setMeta(.mark, .r1),
          ])), except: ["4.1[1].2.6="])
  }

  // nft add set ip t ips { type ipv4_addr; flags interval; comment "bad nets"; }
  @Test func intervalSet() {
    check(
      9,
      """
      020000000600010074000000080002006970730008000300000000040800040000000007080005000000000408000a000000000115000d00
      0004020000000709626164206e65747300000000
      """,
      is: .set(NftSet(t, "ips", key: [.ipv4Address], flags: .interval, comment: "bad nets")), except: ["10="])
  }

  // nft add set ip t aff { type ipv4_addr; flags dynamic,timeout; timeout 3h; }
  @Test func dynamicSet() {
    check(
      9,
      """
      020000000600010074000000080002006166660008000300000000300800040000000007080005000000000408000a00000000010c000b00
      0000000000a4cb800a000d000004020000000000
      """,
      is: .set(NftSet(t, "aff", key: [.ipv4Address], flags: [.dynamic, .timeout], timeout: 10_800_000)), except: ["10="]
    )
  }

  // nft add map ip t svc { type ipv4_addr . inet_proto . inet_service : verdict; }
  @Test func verdictMap() {
    check(
      9,
      """
      02000000060001007400000008000200737663000800030000000008080004000000730d080005000000000c08000600ffffff0008000700
      0000000008000a000000000120000d00000400000000010400000000030800040d0000000100060400000000
      """,
      is: .set(NftSet(t, "svc", key: [.ipv4Address, .inetProtocol, .inetService], data: [.verdict])),
      except: ["10=", "13="])
  }

  // nft add element ip t ips { 10.0.0.0/24 }
  // nft numbers the elements; the kernel looks at their order only.
  @Test func interval() {
    check(
      12,
      """
      02000000060001007400000008000200697073000800040000000001440003801800018008000300000000010c0001800800010000000000
      100002800c000180080001000a0000001800038008000300000000010c000180080001000a000100
      """,
      is: .elements(
        t, "ips",
        [
          NftElement(key: [0, 0, 0, 0], isIntervalEnd: true), NftElement(key: [10, 0, 0, 0]),
          NftElement(key: [10, 0, 1, 0], isIntervalEnd: true),
        ]), except: ["3.", "4="])
  }

  // nft add element ip t svc { 172.30.0.41 . tcp . 80 : goto c }
  @Test func verdictElement() {
    check(
      12,
      """
      0200000006000100740000000800020073766300080004000000000334000380300001801400018010000100ac1e00290600000000500000
      180002801400028008000100fffffffc0600020063000000
      """,
      is: .elements(
        t, "svc",
        [NftElement(key: [172, 30, 0, 41, 6, 0, 0, 0, 0, 80, 0, 0], value: .verdict(.goto("c")))]), except: ["4="])
  }

  // nft add rule ip t c ip saddr @ips drop
  @Test func lookup() {
    check(
      6,
      """
      020000000600010074000000060002006300000094000480340001800c0001007061796c6f61640024000280080001000000000108000200
      00000001080003000000000c08000400000000042c0001800b0001006c6f6f6b757000001c00028008000200000000010800010069707300
      0800040000000001300001800e000100696d6d6564696174650000001c0002800800010000000000100002800c0002800800010000000000
      """,
      is: .rule(
        NftRule(
          t, "c",
          [
            .payload(.network, offset: 12, length: 4, .r1),
            .lookup(set: "ips", key: .r1, to: nil, verdict: false, inverted: false), .verdict(.drop),
          ])), except: ["4.1[1].2.4="])
  }

  // nft add rule ip t c ip daddr . meta l4proto . th dport vmap @svc
  @Test func verdictLookup() {
    check(
      6,
      """
      0200000006000100740000000600020063000000c4000480340001800c0001007061796c6f61640024000280080001000000000108000200
      000000010800030000000010080004000000000424000180090001006d657461000000001400028008000200000000100800010000000009
      340001800c0001007061796c6f61640024000280080001000000000a08000200000000020800030000000002080004000000000234000180
      0b0001006c6f6f6b75700000240002800800020000000001080003000000000008000100737663000800040000000003
      """,
      is: .rule(
        NftRule(
          t, "c",
          [
            .payload(.network, offset: 16, length: 4, .r1), .meta(.transportProtocol, NftRegister(word: 1)),
            .payload(.transport, offset: 2, length: 2, NftRegister(word: 2)),
            .lookup(set: "svc", key: .r1, to: nil, verdict: true, inverted: false),
          ])), except: ["4.1[3].2.4="])
  }

  // nft add rule ip t c update @aff { ip saddr }
  @Test func update() {
    check(
      6,
      """
      02000000060001007400000006000200630000006c000480340001800c0001007061796c6f61640024000280080001000000000108000200
      00000001080003000000000c0800040000000004340001800b00010064796e73657400002400028008000400000000010800030000000001
      08000100616666000800020000000002
      """,
      is: .rule(
        NftRule(
          t, "c",
          [
            .payload(.network, offset: 12, length: 4, .r1),
            .dynamicSet(NftExpression.DynamicSet(.update, set: "aff", key: .r1)),
          ])), except: ["4.1[1].2.2="])
  }

  // nft add rule ip t pre meta l4proto tcp dnat to 10.0.0.2:80
  // nft says that ports are given, which the kernel knows.
  @Test func dnat() {
    check(
      6,
      """
      0200000006000100740000000800020070726500e400048024000180090001006d6574610000000014000280080002000000001008000100
      000000012c00018008000100636d700020000280080001000000000108000200000000000c00038005000100060000002c0001800e000100
      696d6d6564696174650000001800028008000100000000010c000280080001000a0000022c0001800e000100696d6d656469617465000000
      1800028008000100000000020c000280060001000050000038000180080001006e6174002c00028008000100000000010800020000000002
      080003000000000108000500000000020800070000000002
      """,
      is: .rule(
        NftRule(
          t, "pre",
          [
            .meta(.transportProtocol, .r1), .compare(.equal, .r1, [6]), .immediate(.r1, [10, 0, 0, 2]),
            .immediate(.r2, [0, 80]), .nat(NftExpression.NAT(.destination, family: 2, address: .r1, port: .r2)),
          ])), except: ["4.1[4].2.7="])
  }

  // nft delete element ip t svc { 172.30.0.41 . tcp . 80 }
  // nft flush chain ip t c
  // nft delete table ip t
  @Test func removals() {
    var batch = NftBatch()
    batch.delete([NftElement(key: [172, 30, 0, 41, 6, 0, 0, 0, 0, 80, 0, 0])], from: "svc", of: t)
    batch.flush(t, "c")
    batch.delete(t)
    var found: [[UInt8]] = []
    forEachMessage(array(batch.writer.buffer.bytes)) { found.append(array($0.payload)) }
    let expected = [
      """
      02000000060001007400000008000200737663001c000380180001801400018010000100ac1e00290600000000500000
      """,
      """
      0200000006000100740000000600020063000000
      """,
      """
      020000000600010074000000
      """,
    ]
    #expect(Array(found.dropFirst()) == expected.map { bytes($0) })
  }
}

/// Every attribute that is not nested as `path=hex`: numbers of attributes from the outside in, with a position where a
/// number occurs several times. Sorted, so that the order of different attributes does not matter.
private func attributeTexts(_ payload: [UInt8], _ path: String = "") -> [String] {
  var out: [String] = []
  var seen: [UInt16: Int] = [:]
  var rest = payload[...]
  while rest.count >= 4 {
    let header = Array(rest.prefix(4)).map(UInt16.init)
    let (length, type) = (Int(header[0] | header[1] << 8), header[2] | header[3] << 8)
    let content = Array(rest.dropFirst(4).prefix(max(0, length - 4)))
    rest = rest.dropFirst(max(4, (length + 3) & ~3))
    let number = type & 0x3fff
    let position = seen[number, default: 0]
    seen[number] = position + 1
    let name = path + "\(number)" + (position > 0 ? "[\(position)]" : "")
    if type & 0x8000 != 0 {
      // An empty list is an attribute too.
      out += content.isEmpty ? ["\(name)={}"] : attributeTexts(content, name + ".")
    } else {
      out.append("\(name)=" + content.map { String(UInt16($0) + 0x100, radix: 16).dropFirst() }.joined())
    }
  }
  return out.sorted()
}
