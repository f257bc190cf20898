import Netlink
import TestSupport
import Testing

/// Rule sets of other programs: we read them, write what we read into another namespace, and the tools list the same.
@Suite(.needsRoot) struct NftablesRoundTripTests {
  /// Everything of one namespace, decoded, written into another.
  private func copy(_ from: TestNamespace, _ to: TestNamespace) throws {
    var source = try from.nftSocket()
    var target = try to.nftSocket()
    var batch = NftBatch()
    for table in try source.tables() {
      batch.add(table)
      for chain in try source.chains(table.id) { batch.add(chain) }
      for set in try source.sets(table.id) {
        batch.add(set)
        batch.add(try source.elements(of: set.name, table.id), to: set.name, of: table.id)
      }
      for rule in try source.rules(table.id) { batch.append(rule) }
    }
    try target.commit(batch)
  }

  /// What stays unknown to the decoder, by name.
  private func unknown(_ namespace: TestNamespace) throws -> Set<String> {
    var socket = try namespace.nftSocket()
    var names: Set<String> = []
    for rule in try socket.allRules() {
      for case .other(let name, _) in rule.expressions { names.insert(name) }
    }
    return names
  }

  @Test func nft() throws {
    let from = try TestNamespace("nftrt")
    let to = try TestNamespace("nftrt")
    try from.nftLoad(
      """
      table inet fw {
        comment "a firewall"
        set blocked { type ipv4_addr; flags interval; comment "bad nets"; elements = { 192.0.2.0/24, 198.51.100.7 } }
        set pairs { type ether_addr . ipv4_addr; elements = { 02:00:00:00:00:01 . 10.0.0.1 } }
        set ports { type inet_service; flags interval; elements = { 1-1023, 8080 } }
        map to { type inet_service : ipv4_addr . inet_service; elements = { 80 : 10.0.0.2 . 8080 } }
        map lanes { type mark : verdict; elements = { 0x1 : jump lane1, 0x2 : drop } }
        chain lane1 { counter accept; }
        chain input {
          type filter hook input priority filter; policy drop;
          ct state { established, related } accept
          ct state vmap { invalid : drop, new : continue }
          iifname "lo" accept
          iifname { "eth0", "cni*" } tcp dport { 22, 80, 443 } ct state new accept
          ip protocol icmp icmp type echo-request limit rate 5/second accept
          icmpv6 type { nd-neighbor-solicit, nd-router-advert } accept
          ip saddr @blocked drop
          ether saddr . ip saddr @pairs accept
          tcp dport @ports reject with tcp reset
          udp dport 53 ip saddr { 10.0.0.0/8, 172.16.0.0/12 } accept comment "dns"
          meta mark vmap @lanes
          meta nfproto ipv6 ip6 saddr fe80::/10 udp sport 547 accept
          tcp flags syn / fin,syn,rst,ack tcp option maxseg size 1400 counter
          tcp flags & (syn | fin) == (syn | fin) drop
          ip dscp af11 counter
          ip ttl set 64
          th dport 1000-2000 log prefix "seen " level info
          ct mark & 0xff == 0x10 meta mark set ct mark and 0xff or 0x100
          ip daddr & 0.0.0.255 == 0.0.0.255 drop
          meta l4proto { tcp, udp } ct count over 10 reject
          meta pkttype multicast accept
          meta skuid 0 accept
          tcp dport vmap { 1 : accept, 2-5 : drop }
          rt type 0 drop
          fib saddr . mark . iif oif missing drop
          quota over 1 mbytes drop
          jhash ip saddr mod 4 vmap { 0 : accept, 1 : drop, 2 : continue, 3 : return }
        }
        chain pre {
          type nat hook prerouting priority dstnat;
          dnat ip to tcp dport map @to
          tcp dport 81 dnat ip to numgen inc mod 2 map { 0 : 10.0.0.3, 1 : 10.0.0.4 }
          tcp dport 82 redirect to :8082
        }
        chain post {
          type nat hook postrouting priority srcnat;
          ip saddr 10.0.0.0/8 oifname != "cni0" masquerade fully-random
          ip6 saddr fd00::/8 snat ip6 to fd00::1-fd00::9 persistent
        }
        chain raw { type filter hook prerouting priority raw; udp dport 8472 notrack; }
      }
      table bridge b {
        chain f { type filter hook forward priority 0; ether type ip ip saddr 10.0.0.0/24 accept; vlan id 5 drop; }
      }
      table arp a {
        chain i { type filter hook input priority 0; arp operation request counter; }
      }
      """)
    try copy(from, to)
    let lines = try to.nftList().split(separator: "\n").map(String.init)
    expectSame(lines, try from.nftList().split(separator: "\n").map(String.init))
    expectSame(try to.nftObjects(), try from.nftObjects())
    // The second copy decodes to what the first did.
    var a = try from.nftSocket()
    var b = try to.nftSocket()
    expectSame(try b.allRules().map { "\($0.comparable)" }, try a.allRules().map { "\($0.comparable)" })
    // These have no case of their own; all others are understood.
    let known: Set = ["limit", "exthdr", "log", "connlimit", "quota", "hash", "notrack", "payload"]
    let found = try unknown(from)
    #expect(found == known, "\(found.symmetricDifference(known))")
  }

  static let iptables = """
    *nat
    :PREROUTING ACCEPT [0:0]
    :POSTROUTING ACCEPT [0:0]
    :FLANNEL-POSTRTG - [0:0]
    :CNI-HOSTPORT-DNAT - [0:0]
    :CNI-HOSTPORT-SETMARK - [0:0]
    -A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
    -A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
    -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
    -A FLANNEL-POSTRTG -s NET -d NET -m comment --comment "flanneld masq" -j RETURN
    -A FLANNEL-POSTRTG -s NET ! -d MULTICAST -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
    -A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000
    -A CNI-HOSTPORT-DNAT -p tcp -m multiport --dports 80,443,8080 -m comment --comment "dnat" -j CNI-HOSTPORT-SETMARK
    -A CNI-HOSTPORT-DNAT -p tcp -m tcp --dport 8080 -j DNAT --to-destination POD
    COMMIT
    *filter
    :INPUT ACCEPT [0:0]
    :FORWARD DROP [0:0]
    :FLANNEL-FWD - [0:0]
    -A INPUT -i eth+ -p udp -m udp --sport 53 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    -A INPUT -p tcp -m tcp --tcp-flags SYN,ACK SYN -j REJECT --reject-with tcp-reset
    -A FORWARD ! -i lo -o eth0 -m comment --comment "flanneld forward" -j FLANNEL-FWD
    -A FLANNEL-FWD -s NET -m comment --comment "flanneld forward" -j ACCEPT
    -A FLANNEL-FWD -d NET -m comment --comment "flanneld forward" -j ACCEPT
    COMMIT

    """

  @Test(arguments: [false, true]) func iptables(_ isSix: Bool) throws {
    let from = try TestNamespace("nftip")
    let to = try TestNamespace("nftip")
    var text = Self.iptables
    for (word, four, six) in [
      ("NET", "10.244.0.0/16", "fd00:10:244::/56"), ("MULTICAST", "224.0.0.0/4", "ff00::/8"),
      ("POD", "10.244.1.2:80", "[fd00:10:244::2]:80"),
    ] {
      text = text.split(separator: word, omittingEmptySubsequences: false).joined(separator: isSix ? six : four)
    }
    let tool = "/usr/sbin/ip\(isSix ? "6" : "")tables-nft"
    try from.checked("\(tool)-restore", [], text)
    let saved = try from.checked("\(tool)-save", []).text.split(separator: "\n").filter { $0.first != "#" }.map(
      String.init)
    #expect(saved.filter { $0.hasPrefix("-A") }.count == 13)
    #expect(try unknown(from).isEmpty)
    try copy(from, to)
    let copied = try to.checked("\(tool)-save", []).text.split(separator: "\n").filter { $0.first != "#" }.map(
      String.init)
    expectSame(copied, saved)
  }
}
