import Syscalls
import Testing

/// What the documents tell an operator to write works.
@Suite struct DocumentTests {
  /// Blocks of the installation guide that are marked as YAML are values files.
  @Test func valuesInTheGuideRender() throws {
    let guide = try Files.text("\(Repository.root)/docs/install.md")
    var blocks: [[Substring]] = []
    var indent: Int?
    for line in guide.split(separator: "\n", omittingEmptySubsequences: false) {
      let text = line.drop { $0 == " " }
      if let i = indent, text != "```" {
        blocks[blocks.count - 1].append(line.dropFirst(i))
      } else {
        indent = text == "```yaml" ? line.count - text.count : nil
        if indent != nil { blocks.append([]) }
      }
    }
    #expect(blocks.count == 3)
    for block in blocks { _ = try Chart.render(block.joined(separator: "\n")) }
  }
}
