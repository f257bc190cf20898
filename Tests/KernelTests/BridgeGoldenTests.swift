import JSON
import Syscalls
import TestSupport
import Testing

/// A recorded run of the usual plugins behind flannel (dual stack, VXLAN): same input, same answer, same devices.
@Suite(.needsRoot) struct BridgeGoldenTests {
  /// What the recorded ADD printed.
  static let result = """
    {
        "cniVersion": "0.3.1",
        "interfaces": [
            {
                "name": "cni0",
                "mac": "ba:ed:37:a7:9b:9c"
            },
            {
                "name": "veth590789e7",
                "mac": "f6:1f:e9:b9:ee:8e"
            },
            {
                "name": "eth0",
                "mac": "46:3b:d0:47:3f:80",
                "sandbox": "/run/netns/p1"
            }
        ],
        "ips": [
            {
                "version": "4",
                "interface": 2,
                "address": "10.244.99.2/24",
                "gateway": "10.244.99.1"
            },
            {
                "version": "6",
                "interface": 2,
                "address": "fd00:10:244:11::2/64",
                "gateway": "fd00:10:244:11::1"
            }
        ],
        "routes": [
            {
                "dst": "10.244.0.0/16"
            },
            {
                "dst": "fd00:10:244::/56"
            },
            {
                "dst": "0.0.0.0/0",
                "gw": "10.244.99.1"
            },
            {
                "dst": "::/0",
                "gw": "fd00:10:244:11::1"
            }
        ],
        "dns": {}
    }
    """

  /// `ip -d addr` of the bridge and of the host end afterwards.
  static let devices = """
    5: cni0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UP group default qlen 1000
        link/ether ba:ed:37:a7:9b:9c brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535
        bridge forward_delay 1500 hello_time 200 max_age 2000 ageing_time 30000 stp_state 0 priority 32768 \
    vlan_filtering 0 bridge_id 8000.ba:ed:37:a7:9b:9c designated_root 8000.ba:ed:37:a7:9b:9c root_port 0 \
    root_path_cost 0 topology_change 0 topology_change_detected 0 hello_timer    0.00 tcn_timer    0.00 \
    topology_change_timer    0.00 gc_timer  286.18 group_fwd_mask 0 group_address 01:80:c2:00:00:00 \
    mcast_snooping 1 no_linklocal_learn 0 mcast_vlan_snooping 0 mcast_router 1 mcast_query_use_ifaddr 0 \
    mcast_querier 0 mcast_hash_elasticity 16 mcast_hash_max 4096 mcast_last_member_count 2 \
    mcast_startup_query_count 2 mcast_last_member_interval 100 mcast_membership_interval 26000 \
    mcast_querier_interval 25500 mcast_query_interval 12500 mcast_query_response_interval 1000 \
    mcast_startup_query_interval 3124 mcast_stats_enabled 0 mcast_igmp_version 2 mcast_mld_version 1 \
    nf_call_iptables 0 nf_call_ip6tables 0 nf_call_arptables 0 numtxqueues 1 numrxqueues 1 gso_max_size 65536 \
    gso_max_segs 65535 tso_max_size 524280 tso_max_segs 65535 gro_max_size 65536
        inet 10.244.99.1/24 brd 10.244.99.255 scope global cni0
           valid_lft forever preferred_lft forever
        inet6 fd00:10:244:11::1/64 scope global
           valid_lft forever preferred_lft forever
        inet6 fe80::b8ed:37ff:fea7:9b9c/64 scope link
           valid_lft forever preferred_lft forever
    6: veth590789e7@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue master cni0 state UP group \
    default
        link/ether f6:1f:e9:b9:ee:8e brd ff:ff:ff:ff:ff:ff link-netns p1 promiscuity 1  allmulti 1 minmtu 68 \
    maxmtu 65535
        veth
        bridge_slave state forwarding priority 32 cost 2 hairpin on guard off root_block off fastleave off \
    learning on flood on port_id 0x8001 port_no 0x1 designated_port 32769 designated_cost 0 designated_bridge \
    8000.ba:ed:37:a7:9b:9c designated_root 8000.ba:ed:37:a7:9b:9c hold_timer    0.00 message_age_timer    0.00 \
    forward_delay_timer    1.16 topology_change_ack 0 config_pending 0 proxy_arp off proxy_arp_wifi off \
    mcast_router 1 mcast_fast_leave off mcast_flood on bcast_flood on mcast_to_unicast off neigh_suppress off \
    group_fwd_mask 0 group_fwd_mask_str 0x0 vlan_tunnel off isolated off locked off numtxqueues 2 numrxqueues 2 \
    gso_max_size 65536 gso_max_segs 65535 tso_max_size 524280 tso_max_segs 65535 gro_max_size 65536
        inet6 fe80::f41f:e9ff:feb9:ee8e/64 scope link
           valid_lft forever preferred_lft forever
    """

  /// The configuration the recorded bridge plugin got.
  func configuration(_ f: BridgeFixture) -> JSONValue {
    f.configuration(
      ["hairpinMode": true, "ipMasq": false, "isDefaultGateway": true, "isGateway": true, "mtu": 1450],
      version: "0.3.1", subnets: ["10.244.99.0/24", "fd00:10:244:11::/64"],
      ipam: ["routes": [["dst": "10.244.0.0/16"], ["dst": "fd00:10:244::/56"]]])
  }

  @Test func sameAnswer() throws {
    let f = try BridgeFixture("bgr")
    let pod = try f.pod()
    let answer = try f.add(configuration(f), pod)
    #expect(Self.withoutChance(answer.text) == Self.withoutChance(Self.result))
  }

  @Test func sameDevices() throws {
    let f = try BridgeFixture("bgd")
    let pod = try f.pod()
    let view = ResultView(try f.add(configuration(f), pod).json)
    var text = ""
    for name in ["cni0", view.name(1)] {
      text += try f.host.run("/usr/sbin/ip", ["-d", "addr", "show", "dev", name]).text
    }
    #expect(Self.withoutChance(text) == Self.withoutChance(Self.devices))
  }

  /// Without what differs from run to run: MACs, numbers of interfaces, timers, names of veth and namespaces, link-local
  /// addresses; and without the queue length, which older plugins set to 0.
  static func withoutChance(_ text: String) -> [String] {
    let lines = text.split(separator: "\n").filter { !$0.contains("inet6 fe80:") && !$0.contains("valid_lft") }
    return lines.map { line in
      String(line)
        .replacing(/([0-9a-f]{1,2}:){5}[0-9a-f]{1,2}/, with: "MAC").replacing(/veth[0-9a-f]{8}/, with: "VETH")
        .replacing(/\s+[0-9]+\.[0-9]{2}\b/, with: " TIME").replacing(/@if[0-9]+/, with: "@IF")
        .replacing(/^[0-9]+:\s/, with: "").replacing(/link-netns(id)?\s\S+/, with: "NETNS")
        .replacing(/"sandbox": ".*"/, with: "SANDBOX").replacing(/\sqlen\s[0-9]+/, with: "")
        .replacing(/\stentative/, with: "").replacing(/\s+$/, with: "")
    }
  }
}
