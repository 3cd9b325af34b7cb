// CPU per request of node server and its postgres backends
import { execSync } from 'node:child_process'; import { readFileSync } from 'node:fs';
import { load, openDatabase, startService, startReference, sampleEvent, token, withClient } from './support.mjs';
import * as read from './read.mjs';
const hz=100; const cpu=(pid)=>{try{const f=readFileSync(`/proc/${pid}/stat`,'utf8').split(') ')[1].split(' ');return (Number(f[11])+Number(f[12]))*1000/hz}catch{return 0}};
const db = await openDatabase();
const backends=async(app)=> withClient(db.url, async c=>(await c.query(`select pid from pg_stat_activity where datname=current_database() and pid<>pg_backend_pid()`)).rows.map(r=>r.pid));

const measure=async(name,srv,opts)=>{ await load({...opts}).catch(()=>{}); const pid=srv.pid; const b=await backends(); const c0=cpu(pid), p0=b.reduce((a,x)=>a+cpu(x),0); const t=Date.now(); const rps=await load(opts); const n=rps*Number(process.env.BENCH_SECONDS); const c1=cpu(pid), p1=b.reduce((a,x)=>a+cpu(x),0); console.log(name.padEnd(26),'rps',rps.toFixed(0).padStart(6),' node µs/req',((c1-c0)*1000/n).toFixed(0).padStart(6),' pg µs/req',((p1-p0)*1000/n).toFixed(0).padStart(6)); };
let s = await startService(db.url); await s.stop(); await read.seed(db.url); 
s = await startService(db.url); const r= await startReference(db.url);
const as=async o=>({authorization:`Bearer ${await token(o)}`});
const ev=s.url+'/api/v1/audit/events';
for (const org of ['org-7','deep']) {
await measure('page ref '+org,r,{url:`${r.url}/?organization_ids=${org}`,connections:8});
await measure('page ours '+org,s,{url:ev,connections:8,headers:await as([org])});
}
await s.stop(); await r.stop(); await db.close();
