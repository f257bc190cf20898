import Firewall
import Glibc
import NetTypes
import Netlink
import Syscalls
import TestSupport
import Testing

/// What goes to iptables-restore, and what comes back when it fails.
@Suite(.needsRoot) struct IptablesToolTests {
  /// A word from outside stays one word of its rule, and is printed as it was given.
  @Test(arguments: IptablesKind.all) func hostileWords(_ kind: IptablesKind) throws {
    let f = try IptablesFixture(kind)
    for (word, printed) in [
      (#"x" -j DROP "#, #""x\" -j DROP ""#), (#"\"#, #""\\""#), (#"\" -j DROP"#, #""\\\" -j DROP""#),
      ("a\nCOMMIT\n*filter\n-P INPUT DROP", #""a COMMIT *filter -P INPUT DROP""#), ("a\r\nb", #""a  b""#),
      ("a\0b", #""a b""#), ("", #""""#), ("-j", "-j"), ("!", #""!""#), ("# x", "\"# x\""), ("#", "\"#\""),
      ("it's", #""it\'s""#), ("`id`$(id)", #""`id`$(id)""#), ("a\tb", "\"a\tb\""), ("żółć", #""żółć""#),
      ("--comment", "--comment"), (String(repeating: "x", count: 255), String(repeating: "x", count: 255)),
    ] {
      let rule = IptablesTool.line(Rule([.mark(1, mask: 1)], .return, comment: word).iptables)
      try f.restore(["*nat", ":T - [0:0]", "-A T \(rule)", "COMMIT"])
      #expect(
        try f.listing("nat") == [
          "-P PREROUTING ACCEPT", "-P INPUT ACCEPT", "-P OUTPUT ACCEPT", "-P POSTROUTING ACCEPT", "-N T",
          "-A T -m mark --mark 0x1/0x1 -m comment --comment \(printed) -j RETURN",
        ], "\(word)")
    }
    #expect(try f.listing("filter", "INPUT") == ["-P INPUT ACCEPT"])
  }

  /// A comment beyond what iptables takes is an error or is cut; the rest of the rule stays as it is.
  @Test(arguments: IptablesKind.all) func longComments(_ kind: IptablesKind) throws {
    let f = try IptablesFixture(kind)
    for count in [256, 1000, 1024, 5000, 20000] {
      let rule = IptablesTool.line(Rule([], .return, comment: String(repeating: "\"", count: count)).iptables)
      try? f.restore(["*nat", ":T - [0:0]", "-A T \(rule)", "COMMIT"])
      let there = try f.listing("nat").filter { !$0.hasPrefix("-P ") }
      let cut = #"-A T -m comment --comment ""# + String(repeating: #"\""#, count: 255) + #"" -j RETURN"#
      #expect(there == ["-N T", cut] || there.isEmpty || there == ["-N T"], "\(count)")
    }
  }

  /// iptables-restore takes the end of a long line for the next command.
  @Test(arguments: IptablesKind.all) func longLines(_ kind: IptablesKind) throws {
    let f = try IptablesFixture(kind)
    let comment = "-m comment --comment \(String(repeating: "x", count: 900)) "
    var line = "-A T " + String(repeating: comment, count: 10)
    line += String(repeating: " ", count: 10239 - line.utf8.count)
    let lines = ["*nat", ":T - [0:0]", line + "-A POSTROUTING -j ACCEPT", "COMMIT"]
    // So it is: the program itself makes two rules of it.
    try f.load(lines.joined(separator: "\n") + "\n")
    #expect(try f.listing("nat", "POSTROUTING").count == 2)
    try f.iptables("-t", "nat", "-F")
    let error = #expect(throws: IptablesError.self) { try f.restore(lines) }
    #expect(error?.description.contains("does not fit on a line of iptables-restore (10263 bytes") == true)
    #expect(try f.listing("nat", "POSTROUTING") == ["-P POSTROUTING ACCEPT"])
    #expect(throws: IptablesError.self) { try f.restore(["*nat", "-A POSTROUTING\n-P OUTPUT DROP", "COMMIT"]) }
    #expect(f.calls == 0)
  }

  /// A refusal carries what the program said and the line that it means; the table is as it was.
  @Test(arguments: IptablesKind.all) func refusals(_ kind: IptablesKind) throws {
    let f = try IptablesFixture(kind)
    try f.restore(["*nat", ":T - [0:0]", "-A T -j RETURN", "COMMIT"])
    let before = try f.listings()
    for (bad, said) in [
      ("-A T -m nosuch -j ACCEPT", "Couldn't load match `nosuch'"),
      ("-A T -j MASQUERADE --random-fullyx", #"unknown option "--random-fullyx""#),
      ("-D T -p tcp -j ACCEPT", ""),
    ] {
      let error = #expect(throws: IptablesError.self) {
        try f.restore(["*nat", ":T - [0:0]", "-A T -j ACCEPT", bad, "-A T -j RETURN", "COMMIT"])
      }
      let text = error?.description ?? ""
      #expect(text.contains(said) && text.contains("(the line is: \(bad))"), "\(text)")
      #expect(error?.isRefusal == true && error?.isBusy == false && !text.contains("Try `"), "\(text)")
      #expect(try f.listings() == before, "\(bad)")
    }
    // What the kernel refuses: an endless way.
    let error = #expect(throws: IptablesError.self) {
      try f.restore(["*nat", ":T - [0:0]", "-A OUTPUT -j T", "-A T -j T", "COMMIT"])
    }
    #expect(error?.isRefusal == true && error?.isBusy == false)
    #expect(error?.description.contains("(the line is: ") == true, "\(String(describing: error))")
    #expect(try f.listings() == before)
  }

  /// Another program has the lock of the legacy variant: waited for, then named; nothing is changed.
  @Test(arguments: AddressFamily.allCases) func lockHeld(_ family: AddressFamily) throws {
    let f = try IptablesFixture(IptablesKind(family: family, variant: .legacy))
    let lock = try FileDescriptor.open("/run/xtables.lock", O_RDWR | O_CREAT, mode: 0o600)
    try lock.lock()
    let lines = ["*nat", ":T - [0:0]", "COMMIT"]
    let error = #expect(throws: IptablesError.self) { try f.restore(lines, wait: 1) }
    #expect(error?.isBusy == true && error?.isRefusal == false)
    let start = "the lock /run/xtables.lock was not free for 1 s, held by pid \(getpid()) ("
    #expect(error?.description.contains(start) == true, "\(String(describing: error))")
    _ = consume lock
    try f.restore(lines)
    #expect(try f.listing("nat").contains("-N T"))
  }

  /// Kubelet's hint decides which variant is used where both are installed.
  @Test(arguments: AddressFamily.allCases, ["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"])
  func hint(_ family: AddressFamily, _ chain: String) throws {
    for variant in IptablesVariant.allCases {
      let f = try IptablesFixture(IptablesKind(family: family, variant: variant))
      let environment = ["PATH=/usr/sbin"]
      let usual = try IptablesTool(family, environment: environment)
      func preferred() throws -> IptablesTool {
        try f.inside { try IptablesTool.preferred(family, environment: environment) }
      }
      #expect(try preferred() == usual)
      try f.load("*mangle\n:\(chain) - [0:0]\nCOMMIT\n")
      #expect(try preferred().variant == variant)
      // The hint leads to nothing that is installed.
      let only = try TemporaryDirectory("one")
      let other = variant == .nft ? "legacy" : "nft"
      let name = family == .ipv4 ? "iptables-restore" : "ip6tables-restore"
      #expect(symlink("/usr/sbin/xtables-\(other)-multi", only.file(name)) == 0)
      let left = try f.inside { try IptablesTool.preferred(family, environment: ["PATH=\(only.path)"]) }
      #expect(left.variant.rawValue == other && left.path == only.file(name))
    }
  }

  /// A program that does not tell its variant by its name is asked.
  @Test(arguments: IptablesKind.all) func wrapper(_ kind: IptablesKind) throws {
    let directory = try TemporaryDirectory("wrap")
    let name = kind.family == .ipv4 ? "iptables-restore" : "ip6tables-restore"
    try directory.write("#!/bin/sh\nexec /usr/sbin/\(kind.program)-restore \"$@\"\n", to: name, mode: 0o755)
    #expect(try IptablesTool(kind.family, environment: ["PATH=\(directory.path)"]).variant == kind.variant)
  }
}
