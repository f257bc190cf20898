import Glibc
import NetTypes
import Netlink
import Syscalls

/// A node with two peers and rules: cold start to `subnet.env`, flushed rules, and what the agent costs while nothing
/// happens.
func measureRules() throws {
  print("")
  print(
    "rules, two peers; start to subnet.env (ms, CPU of the agent alone), repair of a flush (ms), idle (% of a core)")
  for mode in ["iptables", "nftables"] {
    var starts: [Double] = []
    var costs: [Double] = []
    var repairs: [Double] = []
    var idle = 0.0
    for run in 0..<max(runs * 3, 3) {
      let stage = try Stage(
        #"{"Network":"10.64.0.0/10","SubnetLen":24,"EnableNFTables":\#(mode == "nftables"),"Backend":{"Type":"vxlan"}}"#
      )
      defer { stage.remove() }
      for i in 0..<2 { try stage.write(i) }
      let began = Clock.monotonic()
      let child = try stage.start(agent, ["--ip-masq"])
      let env = stage.directory + "/subnet.env"
      starts.append(milliseconds(try wait("subnet.env", pid: child.pid) { Files.exists(env) } - began))
      costs.append(try cpu(child.pid))
      Clock.sleep(nanoseconds: 300_000_000)
      repairs.append(try measureFlush(mode, stage, child.pid))
      if run == 0 {
        Clock.sleep(nanoseconds: 2_000_000_000)
        let before = try cpu(child.pid)
        Clock.sleep(nanoseconds: Int64(idleSeconds) * 1_000_000_000)
        idle = (try cpu(child.pid) - before) / Double(idleSeconds) / 10
      }
      child.signal(SIGTERM)
      _ = try child.wait()
    }
    let hundredths = Int64((idle * 10_000).rounded())
    print(
      "\(mode): start \(format(median(starts))), CPU \(format(median(costs))), repair \(format(median(repairs))) "
        + "(longest \(format(repairs.max() ?? 0))), idle 0.\(String(10_000 + hundredths).dropFirst()) % over \(idleSeconds) s"
    )
  }
}

/// Empties our masquerade chain by netlink, and waits for its six rules.
private func measureFlush(_ mode: String, _ stage: Stage, _ pid: pid_t) throws -> Double {
  var socket = try NftSocket(in: try NetworkNamespace(path: stage.path))
  let table = mode == "nftables" ? NftTable.ID(.ipv4, "flannel-ipv4") : NftTable.ID(.ipv4, "nat")
  let chain = mode == "nftables" ? "postrtg" : "FLANNEL-POSTRTG"
  guard try socket.rules(table, chain: chain).count == 6 else {
    throw SystemError("find the rules of", chain, .noEntry)
  }
  var batch = NftBatch()
  batch.flush(table, chain)
  try socket.commit(batch)
  let began = Clock.monotonic()
  return milliseconds(
    try wait("the rules", pid: pid) { try socket.rules(table, chain: chain).count == 6 } - began)
}
