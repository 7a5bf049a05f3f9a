//! `watch --exec`: a command of the user for each post.

use std::process::Stdio;

use p2p_proto::v1::Post;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use super::Session;
use crate::exit::{Exit, Outcome, Problem};
use crate::output::document;
use crate::output::names::Names;

/// Runs one command at a time, in the order of the posts.
pub(crate) struct Exec {
    /// For `sh -c`. No word of a post is ever in it: posts come as variables and on stdin.
    command: String,
    names: Names,
}

impl Exec {
    pub(crate) fn new(command: String) -> Self {
        Self { command, names: Names::default() }
    }

    /// Runs it for posts that came together. One that fails is told, and the next one has its turn.
    pub(crate) async fn run_all(&mut self, posts: &[Post], session: &mut Session) -> Outcome {
        posts.iter().for_each(|post| self.names.add_author(post));
        for post in posts {
            if let Some(why) = self.run(post).await? {
                session.warn(&format!("exec: {why} on {}", document::post_id_text(post.id.as_ref())));
            }
        }
        Ok(())
    }

    /// Why it was no success.
    async fn run(&self, post: &Post) -> Outcome<Option<String>> {
        let failed = |error| Problem::new(Exit::Failed, "FAILED", format!("exec: cannot run sh: {error}"));
        let mut child = self.spawn(post).map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            let mut json = Vec::new();
            document::post_document(post).write_json(&mut json)?;
            // Who does not read it does not want it.
            let _ = stdin.write_all(&json).await;
        }
        let status = child.wait().await.map_err(failed)?;
        Ok((!status.success()).then(|| status.to_string()))
    }

    fn spawn(&self, post: &Post) -> std::io::Result<Child> {
        let author = post.id.as_ref().map_or("", |id| id.author.as_str());
        let variables = [
            ("P2P_ID", document::post_id_text(post.id.as_ref())),
            ("P2P_AUTHOR", author.to_owned()),
            ("P2P_NAME", self.names.show(&post.author_name, author)),
            ("P2P_ROOM", post.room.clone()),
            ("P2P_TO", post.to.clone()),
            ("P2P_TEXT", post.text.clone()),
            ("P2P_TIME", crate::output::time::rfc3339(post.time_us)),
            ("P2P_OFFSET", post.offset.to_string()),
        ];
        // A variable cannot hold a NUL, and no post of this version has one.
        let variables = variables.map(|(name, value)| (name, value.replace('\0', "")));
        Command::new("/bin/sh").arg("-c").arg(&self.command).envs(variables).stdin(Stdio::piped()).spawn()
    }
}
