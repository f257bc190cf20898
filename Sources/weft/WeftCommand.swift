import Agent
import ArgumentParser

/// The root of the command line.
struct WeftCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "weft",
    abstract: "A pod network for Kubernetes: the node agent and its tools.",
    discussion: """
      Weft gives every node a subnet of the pod network and carries packets between nodes, by VXLAN or by plain \
      routes. It reads and writes what flannel does, so that nodes of both kinds work in one cluster.

      FILES
        /run/flannel/subnet.env  the node's subnet and MTU, for the CNI plugin
        /etc/cni/net.d           network configuration of the container runtime
        /opt/cni/bin             CNI plugins

      EXIT STATUS
        0 success, 1 failure, 2 or 64 the command line is wrong
      """,
    version: Version.text,
    subcommands: [
      AgentCommand.self, InstallCommand.self, UninstallCommand.self, LabCommand.self, VersionCommand.self,
    ]
  )
}

/// Listed for the help text. Its words never get here: `main.swift` hands them to the agent before anything is parsed.
struct AgentCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "agent",
    abstract: "Run the node agent (also when the program is called flanneld).",
    discussion: "Takes the flags of flanneld in Go's syntax; `weft agent --help` lists them."
  )
  @Argument(parsing: .captureForPassthrough, help: "Flags of the agent.")
  var words: [String] = []

  func run() throws { throw ExitCode(AgentMain.run(arguments: words, programName: "weft agent")) }
}

/// Prints the version on standard output.
struct VersionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "version", abstract: "Print the version.")
  func run() { print(Version.text) }
}
